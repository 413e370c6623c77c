import assert from "node:assert/strict"
import {afterEach, beforeEach, test} from "node:test"

import {connected, fakeSocket, fakeTime, joined, pass, realTime} from "../support/fakes.js"

beforeEach(fakeTime)
afterEach(realTime)

/** Event and payload of what the server would see after the joins. */
const delivered = (conn) => conn.sent.filter(([, , , event]) => event === "say").map((message) => message[4].n)

/** Goes through a reconnect of the socket and a rejoin of its channels. */
function comeBack(socket) {
  pass(20)
  socket.conn.open()
  for (const join of socket.conn.sentEvents("phx_join")) socket.conn.reply(join)
  return socket.conn
}

test("what is pushed while offline is delivered once, in order, after the rejoin", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  channel.push("say", {n: 0})
  conn.drop()
  for (let n = 1; n <= 50; n += 1) channel.push("say", {n})
  const second = comeBack(socket)
  const numbers = Array.from({length: 50}, (_, index) => index + 1)
  assert.deepEqual(delivered(second), numbers)
  assert.deepEqual(delivered(conn), [0])
  // Under the join_ref of the new join, or the server would drop them as stale.
  assert.ok(second.sentEvents("say").every(([joinRef]) => joinRef === channel.joinRef()))
  second.drop()
  assert.deepEqual(delivered(comeBack(socket)), [])
})

test("answers reach the pushes that waited", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  conn.drop()
  const seen = []
  for (const n of [1, 2]) channel.push("say", {n}).receive("ok", (response) => seen.push(response.n))
  const second = comeBack(socket)
  for (const message of second.sentEvents("say")) second.reply(message, "ok", message[4])
  assert.deepEqual(seen, [1, 2])
})

test("pushes made between the break and its discovery are kept as well", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  conn.readyState = 2
  channel.push("say", {n: 1})
  assert.equal(channel.state, "joined")
  conn.drop()
  channel.push("say", {n: 2})
  assert.deepEqual(delivered(comeBack(socket)), [1, 2])
})

test("pushes survive several failed attempts", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  conn.drop()
  channel.push("say", {n: 1})
  for (let attempt = 0; attempt < 5; attempt += 1) {
    pass(20)
    socket.conn.fail()
    channel.push("say", {n: attempt + 2})
  }
  assert.deepEqual(delivered(comeBack(socket)), [1, 2, 3, 4, 5, 6])
})

test("a join made while offline is sent once, however many attempts fail", () => {
  const socket = fakeSocket()
  const channel = socket.channel("topic")
  channel.join()
  channel.push("say", {n: 1})
  socket.connect()
  for (let attempt = 0; attempt < 3; attempt += 1) {
    socket.conn.fail()
    pass(20)
  }
  socket.conn.open()
  assert.deepEqual(socket.conn.sent.map(([joinRef, ref, , event]) => [joinRef, ref, event]), [
    [channel.joinRef(), channel.joinRef(), "phx_join"],
  ])
  socket.conn.reply(socket.conn.sent[0])
  assert.deepEqual(delivered(socket.conn), [1])
})

test("a break during the rejoin delivers nothing twice", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  conn.drop()
  channel.push("say", {n: 1})
  pass(20)
  const second = socket.conn
  second.open()
  assert.equal(second.sentEvents("phx_join").length, 1)
  second.drop()
  const third = comeBack(socket)
  assert.deepEqual(delivered(second), [])
  assert.deepEqual(delivered(third), [1])
  assert.equal(third.sentEvents("phx_join").length, 1)
})

test("a push whose time is up before the connection is back is not delivered late", () => {
  const {socket, conn} = connected({reconnectAfterMs: () => 3000})
  const channel = joined(socket)
  conn.drop()
  const seen = []
  channel.push("say", {n: 1}, 1000).receive("timeout", () => seen.push("timeout"))
  channel.push("say", {n: 2})
  pass(3000)
  assert.deepEqual(seen, ["timeout"])
  assert.deepEqual(delivered(comeBack(socket)), [2])
})

test("a channel left while offline is neither joined nor left on the new connection", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  conn.drop()
  channel.leave()
  pass(20)
  socket.conn.open()
  assert.deepEqual(socket.conn.sent, [])
})

test("binary pushes wait like the others", () => {
  const {socket, conn} = connected()
  const channel = joined(socket, "t")
  conn.drop()
  channel.push("b", Uint8Array.of(1, 2, 3))
  const frame = Buffer.from(comeBack(socket).raw.at(-1))
  assert.equal(frame[0], 0)
  assert.deepEqual([...frame.subarray(-3)], [1, 2, 3])
})
