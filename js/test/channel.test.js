import assert from "node:assert/strict"
import {afterEach, beforeEach, describe, test} from "node:test"

import {Channel, Push} from "../src/broadwing.js"
import {connected, fakeSocket, fakeTime, joined, pass, realTime} from "../support/fakes.js"

beforeEach(fakeTime)
afterEach(realTime)

/** Whether the push would still take an answer to the ref. */
function listens(push, ref) {
  const before = push.receivedResp
  const answer = {status: "probe", response: {}}
  push.channel.trigger(push.channel.replyEventName(ref), answer)
  const taken = push.receivedResp === answer
  push.receivedResp = before
  return taken
}

describe("constructor", () => { // checklist 265
  test("makes a closed channel with a join that is not sent", () => {
    const socket = fakeSocket({timeout: 1234})
    const channel = socket.channel("topic", {one: "two"})
    assert.ok(channel instanceof Channel)
    assert.equal(channel.state, "closed")
    assert.equal(channel.topic, "topic")
    assert.deepEqual(channel.params(), {one: "two"})
    assert.equal(channel.socket, socket)
    assert.equal(channel.timeout, 1234)
    assert.equal(channel.joinedOnce, false)
    assert.deepEqual(channel.pushBuffer, [])
    assert.ok(channel.joinPush instanceof Push)
    assert.deepEqual(channel.joinPush.payload(), {one: "two"})
    assert.equal(channel.joinPush.event, "phx_join")
    assert.equal(channel.joinPush.timeout, 1234)
    assert.equal(channel.joinPush.sent, false)
  })

  test("params that are null or left out are an empty object", () => {
    const {socket} = connected()
    for (const channel of [socket.channel("topic", null), new Channel("topic", undefined, socket)]) {
      assert.deepEqual(channel.params(), {})
    }
  })

  test("params given as a function are asked at every join", () => {
    let count = 0
    const {socket, conn} = connected()
    joined(socket, "topic", () => ({count: ++count}))
    conn.drop()
    pass(20)
    socket.conn.open()
    assert.deepEqual(conn.sent[0][4], {count: 1})
    assert.deepEqual(socket.conn.sent[0][4], {count: 2})
  })
})

describe("join", () => { // checklist 267
  test("sends phx_join with the params, and its ref as the join_ref", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic", {one: "two"})
    const push = channel.join()
    assert.equal(channel.state, "joining")
    assert.equal(channel.joinedOnce, true)
    assert.equal(push, channel.joinPush)
    const [message] = conn.sent
    assert.deepEqual(message, [push.ref, push.ref, "topic", "phx_join", {one: "two"}])
    assert.equal(channel.joinRef(), push.ref)
  })

  test("may be called once", () => {
    const {socket} = connected()
    const channel = socket.channel("topic")
    channel.join()
    assert.throws(() => channel.join(), /^Error: tried to join multiple times/)
  })

  test("takes a timeout, which the channel keeps", () => {
    const {socket} = connected()
    const channel = socket.channel("topic")
    const seen = []
    channel.join(2000).receive("timeout", () => seen.push("timeout"))
    assert.equal(channel.timeout, 2000)
    pass(1995)
    assert.deepEqual(seen, [])
    pass(5)
    assert.deepEqual(seen, ["timeout"])
  })

  test("leaves an existing channel of the topic", () => { // checklist 268
    const {socket, conn} = connected()
    const first = joined(socket, "topic")
    const second = socket.channel("topic")
    second.join()
    assert.equal(first.state, "closed")
    assert.deepEqual(socket.channels, [second])
    // The server is told to leave the old one before it is asked to let the new one in.
    assert.deepEqual(conn.sent.map(([joinRef, , , event]) => [joinRef, event]).slice(1), [
      [first.joinRef(), "phx_leave"],
      [second.joinRef(), "phx_join"],
    ])
  })

  test("leaves an existing channel that waits to rejoin, which would take the topic back otherwise", () => {
    const {socket, conn} = connected()
    const first = joined(socket, "topic")
    conn.drop()
    const second = socket.channel("topic")
    second.join()
    assert.equal(first.state, "closed")
    pass(20)
    socket.conn.open()
    assert.deepEqual(socket.conn.sent.map(([joinRef, , , event]) => [joinRef, event]), [[second.joinRef(), "phx_join"]])
  })
})

describe("join answered ok", () => { // checklist 270
  test("joins the channel and runs the callbacks once, with the response", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    const seen = []
    channel
      .join()
      .receive("ok", (response) => seen.push(response))
      .receive("error", () => seen.push("error"))
      .receive("timeout", () => seen.push("timeout"))
    conn.reply(conn.sent[0], "ok", {welcome: 1})
    conn.reply(conn.sent[0], "ok", {welcome: 2})
    pass(20_000, 100)
    assert.deepEqual(seen, [{welcome: 1}])
    assert.equal(channel.state, "joined")
    assert.deepEqual(channel.joinPush.receivedResp, {status: "ok", response: {welcome: 1}})
    assert.equal(listens(channel.joinPush, channel.joinRef()), false)
  })

  test("runs a callback at once that comes late", () => {
    const {socket} = connected()
    const channel = joined(socket)
    const seen = []
    channel.joinPush.receive("ok", (response) => seen.push(response)).receive("error", () => seen.push("error"))
    assert.deepEqual(seen, [{}])
  })

  test("resets the rejoin timer", () => {
    const asked = []
    const {socket, conn} = connected({rejoinAfterMs: (tries) => asked.push(tries) && 100})
    const channel = joined(socket)
    for (const expected of [[1], [1, 1]]) {
      conn.receive(channel.joinRef(), channel.joinRef(), channel.topic, "phx_error", {reason: "channel_crash"})
      assert.deepEqual(asked, expected)
      pass(100)
      conn.reply(conn.sent.at(-1))
    }
  })

  test("sends what was pushed meanwhile, in order, before the callbacks push", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    const join = channel.join()
    channel.push("one", {n: 1})
    channel.push("two", {n: 2})
    join.receive("ok", () => channel.push("three", {n: 3}))
    assert.equal(conn.sent.length, 1)
    conn.reply(conn.sent[0])
    const sent = conn.sent.slice(1)
    assert.deepEqual(sent.map(([, , , event, payload]) => [event, payload.n]), [["one", 1], ["two", 2], ["three", 3]])
    assert.ok(sent.every(([joinRef]) => joinRef === channel.joinRef()))
    assert.equal(new Set(sent.map(([, ref]) => ref)).size, 3)
    assert.deepEqual(channel.pushBuffer, [])
  })

  test("one buffered push that cannot be encoded does not hold up the others", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    channel.push("e".repeat(256), new ArrayBuffer(1))
    channel.push("two")
    conn.reply(conn.sent[0])
    assert.deepEqual(conn.sent.slice(1).map(([, , , event]) => event), ["two"])
    assert.throws(() => pass(1), /unable to convert event to binary/)
  })
})

describe("join answered with an error", () => { // checklist 272
  test("leaves the channel errored and runs the error callbacks only", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    const seen = []
    channel
      .join()
      .receive("ok", () => seen.push("ok"))
      .receive("error", (response) => seen.push(response))
      .receive("timeout", () => seen.push("timeout"))
    channel.push("waiting")
    conn.reply(conn.sent[0], "error", {reason: "unauthorized"})
    assert.deepEqual(seen, [{reason: "unauthorized"}])
    assert.equal(channel.state, "errored")
    assert.equal(listens(channel.joinPush, channel.joinRef()), false)
    assert.equal(channel.pushBuffer.length, 1)
    channel.joinPush.receive("error", () => seen.push("late"))
    assert.deepEqual(seen, [{reason: "unauthorized"}, "late"])
  })

  test("does not send what was pushed", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    channel.push("waiting")
    conn.reply(conn.sent[0], "error")
    assert.equal(conn.sent.length, 1)
  })

  test("is tried again with back-off, each time under a new ref, until it succeeds", () => {
    const {socket, conn} = connected({heartbeatIntervalMs: 1_000_000})
    const channel = socket.channel("topic")
    channel.join()
    const joins = () => conn.sentEvents("phx_join")
    for (const [index, delay] of [1000, 2000, 5000, 10_000, 10_000].entries()) {
      conn.reply(joins().at(-1), "error")
      pass(delay - 5)
      assert.equal(joins().length, index + 1)
      pass(5)
      assert.equal(joins().length, index + 2)
    }
    assert.equal(new Set(joins().map(([joinRef]) => joinRef)).size, 6)
    assert.ok(joins().every(([joinRef, ref]) => joinRef === ref))
    conn.reply(joins().at(-1))
    assert.equal(channel.state, "joined")
    pass(20_000, 100)
    assert.equal(joins().length, 6)
  })
})

describe("join not answered", () => { // checklist 269, 271
  test("tells the server to leave, and is tried again with back-off", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    const seen = []
    channel
      .join()
      .receive("ok", () => seen.push("ok"))
      .receive("error", () => seen.push("error"))
      .receive("timeout", (response) => seen.push(response))
    const [joinRef] = conn.sent[0]
    pass(9995)
    assert.equal(channel.state, "joining")
    pass(5)
    assert.deepEqual(seen, [{}])
    assert.equal(channel.state, "errored")
    assert.deepEqual(conn.sent[1].toSpliced(1, 1), [joinRef, "topic", "phx_leave", {}])
    pass(995)
    assert.equal(conn.sentEvents("phx_join").length, 1)
    pass(5)
    assert.equal(conn.sentEvents("phx_join").length, 2)
    conn.reply(conn.sentEvents("phx_join")[1])
    assert.equal(channel.state, "joined")
    assert.deepEqual(seen, [{}, "ok"])
  })

  test("an answer that comes too late is ignored", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    pass(10_000)
    conn.reply(conn.sent[0])
    assert.equal(channel.state, "errored")
  })

  test("what the late join brings is dropped", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    let heard = 0
    channel.on("event", () => heard++)
    channel.join()
    pass(10_000)
    conn.receive(conn.sent[0][0], null, "topic", "event", {})
    assert.equal(heard, 0)
  })

  test("does not happen when the answer comes in time", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    pass(9995)
    conn.reply(conn.sent[0])
    pass(5000)
    assert.equal(channel.state, "joined")
    assert.equal(conn.sent.length, 1)
  })

  test("because the socket opened late, it still joins, with one phx_join and no phx_leave", () => {
    const socket = fakeSocket()
    socket.connect()
    const channel = socket.channel("topic")
    const seen = []
    channel.join().receive("timeout", () => seen.push("timeout")).receive("ok", () => seen.push("ok"))
    pass(12_000, 100)
    assert.deepEqual(seen, ["timeout"])
    assert.equal(channel.state, "errored")
    socket.conn.open()
    assert.deepEqual(socket.conn.sent.map(([, , , event]) => event), ["phx_join"])
    socket.conn.reply(socket.conn.sent[0])
    assert.equal(channel.state, "joined")
    assert.deepEqual(seen, ["timeout", "ok"])
  })
})

describe("phx_error", () => { // checklist 273
  const crash = (conn, channel) => {
    conn.receive(channel.joinRef(), channel.joinRef(), channel.topic, "phx_error", {reason: "channel_crash"})
  }

  test("leaves a joined channel errored and gives the payload to onError", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const errors = []
    channel.onError((reason) => errors.push(reason))
    crash(conn, channel)
    assert.equal(channel.state, "errored")
    assert.deepEqual(errors, [{reason: "channel_crash"}])
  })

  test("leads to one rejoin after the back-off, however many errors came", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    crash(conn, channel)
    crash(conn, channel)
    pass(995)
    assert.equal(conn.sentEvents("phx_join").length, 1)
    pass(5)
    assert.equal(conn.sentEvents("phx_join").length, 2)
    conn.reply(conn.sent.at(-1))
    pass(20_000)
    assert.equal(conn.sentEvents("phx_join").length, 2)
  })

  test("followed by a reconnect leads to one rejoin as well", () => {
    const {socket, conn} = connected()
    crash(conn, joined(socket))
    conn.drop()
    pass(20)
    socket.conn.open()
    pass(5000)
    assert.equal(socket.conn.sentEvents("phx_join").length, 1)
  })

  test("while joining makes the join's answer outdated", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    const [join] = conn.sent
    crash(conn, channel)
    conn.reply(join)
    assert.equal(channel.state, "errored")
    pass(1000)
    conn.reply(conn.sent.at(-1))
    assert.equal(channel.state, "joined")
  })

  test("does not touch a channel that is closed", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    channel.leave()
    channel.trigger("phx_error", {reason: "late"})
    assert.equal(channel.state, "closed")
    pass(20_000)
    assert.equal(conn.sentEvents("phx_join").length, 1)
  })

  test("of an earlier join is dropped", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    conn.receive("99", "99", channel.topic, "phx_error", {reason: "channel_crash"})
    assert.equal(channel.state, "joined")
  })
})

describe("phx_close", () => { // checklist 274
  test("closes the channel for good and removes it from the socket", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const seen = []
    channel.onClose((...args) => seen.push(args))
    const ref = channel.joinRef()
    conn.receive(ref, ref, channel.topic, "phx_close", {})
    assert.equal(channel.state, "closed")
    assert.deepEqual(seen, [[{}, ref, ref]])
    assert.deepEqual(socket.channels, [])
    pass(20_000)
    conn.drop()
    pass(20)
    socket.conn.open()
    assert.deepEqual(socket.conn.sent, [])
  })

  test("of a joining channel cancels its timeout", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    const seen = []
    channel.join().receive("timeout", () => seen.push("timeout"))
    conn.receive(channel.joinRef(), channel.joinRef(), "topic", "phx_close", {})
    pass(20_000)
    assert.deepEqual(seen, [])
    assert.equal(channel.state, "closed")
    assert.equal(conn.sent.length, 1)
  })
})

describe("onMessage", () => { // checklist 275
  test("returns the payload by default", () => {
    const channel = fakeSocket().channel("topic")
    const payload = {one: 1}
    assert.equal(channel.onMessage("event", payload, "ref", "join_ref"), payload)
  })

  test("may change the payload of every event", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const events = []
    channel.onMessage = (event, payload) => {
      events.push(event)
      return {...payload, extra: true}
    }
    const seen = []
    channel.on("event", (payload) => seen.push(payload))
    channel.push("question")
    conn.receive(channel.joinRef(), null, channel.topic, "event", {one: 1})
    conn.reply(conn.sent.at(-1))
    assert.deepEqual(seen, [{one: 1, extra: true}])
    assert.deepEqual(events, ["event", "phx_reply", `chan_reply_${conn.sent.at(-1)[1]}`])
  })

  test("must return something for a payload", () => {
    const channel = fakeSocket().channel("topic")
    channel.onMessage = () => {}
    assert.throws(() => channel.trigger("event", {one: 1}), /onMessage returned undefined for "event".*must return the payload/)
    assert.doesNotThrow(() => channel.trigger("event", null))
  })
})

describe("canPush", () => { // checklist 275
  test("only when the socket is connected and the channel is joined", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    assert.equal(channel.canPush(), true)
    conn.readyState = 2
    assert.equal(channel.canPush(), false)
    conn.readyState = 1
    channel.state = "joining"
    assert.equal(channel.canPush(), false)
  })
})

describe("on and off", () => { // checklist 276
  test("a callback hears its event only", () => {
    const channel = fakeSocket().channel("topic")
    const seen = []
    channel.on("event", (payload) => seen.push(payload))
    channel.on("other", () => seen.push("other"))
    channel.trigger("event", {one: 1}, "ref")
    assert.deepEqual(seen, [{one: 1}])
  })

  test("each callback has its own ref", () => {
    const channel = fakeSocket().channel("topic")
    const refs = [channel.on("event", () => {}), channel.on("event", () => {}), channel.onError(() => {}), channel.onClose(() => {})]
    assert.equal(new Set(refs).size, 4)
    assert.ok(refs.every(Number.isInteger))
  })

  test("off takes all callbacks of the event, or one", () => {
    const channel = fakeSocket().channel("topic")
    const seen = []
    const first = channel.on("event", () => seen.push("first"))
    channel.on("event", () => seen.push("second"))
    channel.on("other", () => seen.push("other"))
    channel.off("event", first)
    channel.trigger("event", {})
    assert.deepEqual(seen, ["second"])
    channel.off("event")
    channel.trigger("event", {})
    channel.trigger("other", {})
    assert.deepEqual(seen, ["second", "other"])
  })

  test("all callbacks run even when one of them removes others", () => {
    const channel = fakeSocket().channel("topic")
    const seen = []
    channel.on("event", () => {
      seen.push("first")
      channel.off("event")
    })
    channel.on("event", () => seen.push("second"))
    channel.trigger("event", {})
    channel.trigger("event", {})
    assert.deepEqual(seen, ["first", "second"])
  })

  test("a broadcast has no join_ref, and its callbacks get the channel's", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const seen = []
    channel.on("event", (...args) => seen.push(args))
    conn.receive(null, null, channel.topic, "event", {one: 1})
    assert.deepEqual(seen, [[{one: 1}, null, channel.joinRef()]])
  })

  test("a message of an earlier join is dropped", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    let heard = 0
    channel.on("event", () => heard++)
    conn.receive("99", null, channel.topic, "event", {})
    assert.equal(heard, 0)
  })

  test("binary payloads arrive as ArrayBuffers", () => {
    const {socket, conn} = connected()
    const channel = joined(socket, "topic")
    const seen = []
    channel.on("event", (payload) => seen.push(payload))
    conn.onmessage({data: Buffer.from("020505746f7069636576656e74656667", "hex")})
    assert.ok(seen[0] instanceof ArrayBuffer)
    assert.deepEqual([...new Uint8Array(seen[0])], [101, 102, 103])
  })
})

describe("push", () => { // checklist 277
  test("sends topic, event, payload, a new ref and the join_ref", () => {
    const {socket, conn} = connected()
    const channel = joined(socket, "topic")
    const push = channel.push("event", {one: 1})
    assert.deepEqual(conn.sent.at(-1), [channel.joinRef(), push.ref, "topic", "event", {one: 1}])
    assert.notEqual(push.ref, channel.joinRef())
    assert.equal(push.sent, true)
  })

  test("has an empty object as its default payload, and keeps the other empty values", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    for (const payload of [undefined, null, 0, "", false, []]) channel.push("event", payload)
    assert.deepEqual(conn.sentEvents("event").map((message) => message[4]), [{}, {}, 0, "", false, []])
  })

  test("throws before the channel was joined", () => {
    const channel = fakeSocket().channel("topic")
    assert.throws(() => channel.push("event"), /^Error: tried to push 'event' to 'topic' before joining/)
  })

  test("runs the callbacks of the answer's status only, whichever that is", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const seen = []
    for (const status of ["ok", "error", "teapot"]) {
      const push = channel.push("event")
      for (const expected of ["ok", "error", "teapot", "timeout"]) push.receive(expected, (response) => seen.push([expected, response]))
      conn.reply(conn.sent.at(-1), status, {for: status})
    }
    pass(20_000)
    assert.deepEqual(seen, ["ok", "error", "teapot"].map((status) => [status, {for: status}]))
  })

  test("runs any number of callbacks, and one at once that comes late", () => {
    const {socket, conn} = connected()
    const push = joined(socket).push("event")
    const seen = []
    push.receive("ok", () => seen.push(1)).receive("ok", () => seen.push(2))
    conn.reply(conn.sent.at(-1))
    push.receive("ok", () => seen.push(3))
    assert.deepEqual(seen, [1, 2, 3])
  })

  test("times out after the channel's timeout, or its own", () => {
    const {socket} = connected({timeout: 3000})
    const channel = joined(socket)
    const seen = []
    channel.push("slow").receive("timeout", () => seen.push("slow"))
    channel.push("fast", {}, 1000).receive("timeout", () => seen.push("fast"))
    pass(995)
    assert.deepEqual(seen, [])
    pass(5)
    assert.deepEqual(seen, ["fast"])
    pass(1995)
    assert.deepEqual(seen, ["fast"])
    pass(5)
    assert.deepEqual(seen, ["fast", "slow"])
  })

  test("an answer after the timeout is ignored, and so is a second answer", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const seen = []
    channel.push("late").receive("ok", () => seen.push("ok")).receive("timeout", () => seen.push("timeout"))
    const late = conn.sent.at(-1)
    pass(10_000)
    conn.reply(late)
    channel.push("twice").receive("ok", ({n}) => seen.push(n))
    conn.reply(conn.sent.at(-1), "ok", {n: 1})
    conn.reply(conn.sent.at(-1), "ok", {n: 2})
    assert.deepEqual(seen, ["timeout", 1])
  })

  test("leaves no binding behind for its reply", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    const push = channel.push("event")
    const waiting = push.ref
    conn.reply(conn.sent[0])
    const sent = push.ref
    assert.notEqual(sent, waiting)
    assert.equal(listens(push, waiting), false)
    conn.reply(conn.sent.at(-1))
    assert.equal(listens(push, sent), false)
    const timedOut = channel.push("other")
    pass(10_000)
    assert.equal(listens(timedOut, timedOut.ref), false)
    const pending = channel.push("pending")
    assert.equal(listens(pending, pending.ref), true)
  })

  test("that waits for the join starts its timeout anew when it is sent", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    const seen = []
    channel.push("event", {}, 1000).receive("timeout", () => seen.push("timeout"))
    pass(900)
    conn.reply(conn.sent[0])
    pass(995)
    assert.deepEqual(seen, [])
    pass(5)
    assert.deepEqual(seen, ["timeout"])
  })

  test("that timed out while it waited is not sent any more", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    const seen = []
    channel.push("gone", {}, 500).receive("timeout", () => seen.push("timeout"))
    channel.push("kept", {}, 2000)
    pass(1000)
    assert.deepEqual(seen, ["timeout"])
    assert.equal(channel.pushBuffer.length, 1)
    conn.reply(conn.sent[0])
    assert.deepEqual(conn.sent.slice(1).map(([, , , event]) => event), ["kept"])
  })

  test("is not sent while the join has timed out", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    channel.push("event", {}, 60_000)
    pass(10_000)
    assert.deepEqual(conn.sent.map(([, , , event]) => event), ["phx_join", "phx_leave"])
  })

  test("a topic that does not fit a binary frame is refused where it is pushed", () => {
    const {socket, conn} = connected()
    const channel = joined(socket, "t".repeat(256))
    assert.throws(() => channel.push("event", new ArrayBuffer(1)), /unable to convert topic to binary/)
    assert.equal(conn.sent.length, 1)
    channel.onMessage = (event) => assert.fail(`${event} of a push that never was`)
    pass(20_000)
  })

  test("gets binary replies as ArrayBuffers, with their status", () => {
    const {socket, conn} = connected()
    const channel = joined(socket, "room:lobby")
    const seen = []
    const push = channel.push("echo", Uint8Array.of(0, 255))
    push.receive("ok", (response) => seen.push(response))
    const text = (value) => Buffer.from(value).toString("hex")
    const sizes = [channel.joinRef().length, push.ref.length, 10, 2].map((size) => size.toString(16).padStart(2, "0")).join("")
    conn.onmessage({data: Buffer.from(`01${sizes}${text(channel.joinRef())}${text(push.ref)}${text("room:lobby")}${text("ok")}00ff`, "hex")})
    assert.deepEqual([...new Uint8Array(seen[0])], [0, 255])
  })
})

describe("leave", () => { // checklist 278
  test("sends phx_leave with the join_ref and closes at once", () => {
    const {socket, conn} = connected()
    const channel = joined(socket, "topic")
    const other = joined(socket, "other")
    const joinRef = channel.joinRef()
    const seen = []
    channel.onClose((payload) => seen.push(payload))
    const push = channel.leave()
    assert.deepEqual(conn.sent.at(-1), [joinRef, push.ref, "topic", "phx_leave", {}])
    assert.equal(channel.state, "closed")
    assert.deepEqual(seen, ["leave"])
    assert.deepEqual(socket.channels, [other])
    push.receive("ok", (response) => seen.push(response))
    assert.deepEqual(seen, ["leave", {}])
    conn.reply(conn.sent.at(-1))
    pass(20_000)
    assert.deepEqual(seen, ["leave", {}])
  })

  test("removes itself only, not another channel of the same topic", () => {
    const {socket} = connected()
    const first = joined(socket, "topic")
    const second = socket.channel("topic")
    first.leave()
    assert.deepEqual(socket.channels, [second])
  })

  test("cancels the rejoin", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    conn.receive(channel.joinRef(), channel.joinRef(), channel.topic, "phx_error", {})
    channel.leave()
    pass(20_000)
    assert.equal(conn.sentEvents("phx_join").length, 1)
    assert.equal(conn.sentEvents("phx_leave").length, 0, "the server's channel is gone already")
  })

  test("while joining leaves what the server may have let in", () => {
    const {socket, conn} = connected()
    const channel = socket.channel("topic")
    channel.join()
    channel.leave()
    assert.deepEqual(conn.sent.map(([joinRef, , , event]) => [joinRef, event]), [
      [channel.joinRef(), "phx_join"],
      [channel.joinRef(), "phx_leave"],
    ])
    conn.reply(conn.sent[0])
    pass(20_000)
    assert.equal(channel.state, "closed")
  })

  test("takes back a join that was not sent yet", () => {
    const socket = fakeSocket()
    socket.connect()
    const channel = socket.channel("topic")
    channel.join()
    channel.leave()
    assert.equal(channel.state, "closed")
    socket.conn.open()
    assert.deepEqual(socket.conn.sent, [])
  })
})
