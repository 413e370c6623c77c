import assert from "node:assert/strict"
import {afterEach, beforeEach, test} from "node:test"

import {LongPoll} from "../src/broadwing.js"
import {fakeSocket, fakeTime, pass, realTime} from "../support/fakes.js"

/** Takes the place of XMLHttpRequest, so that LongPoll opens a session when the test says so. */
class SilentXhr {
  static last = null

  open() {}
  setRequestHeader() {}
  abort() {}

  send() {
    SilentXhr.last = this
  }

  openSession() {
    this.responseText = JSON.stringify({status: 410, token: "T", messages: []})
    this.onload()
  }
}

function memory(initial = {}) {
  const items = new Map(Object.entries(initial))
  return {items, getItem: (key) => items.get(key) ?? null, setItem: (key, value) => items.set(key, value)}
}

/** A socket that falls back after 2 s, and its first connection. */
function start(options = {}) {
  const store = memory()
  const socket = fakeSocket({longPollFallbackMs: 2000, sessionStorage: store, ...options})
  const primary = socket.transport
  socket.connect()
  return {socket, primary, store}
}

beforeEach(() => {
  fakeTime()
  globalThis.XMLHttpRequest = SilentXhr
})
afterEach(() => {
  delete globalThis.XMLHttpRequest
  realTime()
})

test("an error before the primary opens switches to LongPoll", () => { // checklist 244
  const {socket, primary} = start()
  assert.ok(socket.conn instanceof primary)
  socket.conn.fail()
  assert.equal(socket.transport, LongPoll)
  assert.ok(socket.conn instanceof LongPoll)
  pass(10_000, 100)
  assert.equal(primary.instances.length, 1)
})

test("a primary that does not open in time is replaced by LongPoll", () => {
  const {socket, primary} = start()
  pass(1995)
  assert.ok(socket.conn instanceof primary)
  pass(5)
  assert.ok(socket.conn instanceof LongPoll)
  assert.equal(primary.last.closeCalls.length, 1)
})

test("a primary that opens but does not answer a ping is replaced by LongPoll", () => {
  const {socket, primary} = start()
  pass(1000)
  primary.last.open()
  assert.deepEqual(primary.last.sent.map(([, , topic, event]) => [topic, event]), [["phoenix", "heartbeat"]])
  pass(1995)
  assert.ok(socket.conn instanceof primary)
  pass(5)
  assert.ok(socket.conn instanceof LongPoll)
})

test("a primary that answers the ping is kept", () => {
  const {socket, primary} = start()
  primary.last.open()
  primary.last.reply(primary.last.sent[0])
  pass(10_000, 100)
  assert.ok(socket.conn instanceof primary)
  assert.equal(primary.instances.length, 1)
})

test("an error of a primary that opened leads to a reconnect, not to LongPoll", () => {
  const {socket, primary} = start()
  primary.last.open()
  primary.last.fail("broken")
  pass(20)
  assert.equal(primary.instances.length, 2)
  assert.ok(socket.conn instanceof primary)
})

test("what was joined and pushed meanwhile goes out over LongPoll, once", () => {
  const {socket} = start()
  const sent = []
  const channel = socket.channel("topic")
  channel.join()
  socket.conn.fail()
  assert.equal(channel.state, "joining")
  pass(5)
  socket.conn.send = (data) => sent.push(JSON.parse(data))
  SilentXhr.last.openSession()
  assert.deepEqual(sent.map(([, , topic, event]) => [topic, event]), [["topic", "phx_join"]])
})

test("LongPoll in place of a primary that never worked is remembered for the session", () => {
  const {store} = start()
  pass(2000)
  assert.equal(store.items.size, 0)
  pass(5)
  SilentXhr.last.openSession()
  assert.deepEqual([...store.items], [["phx:fallback:LongPoll", "true"]])
})

test("LongPoll in place of a primary that once worked is not remembered", () => {
  const {socket, primary, store} = start()
  primary.last.open()
  primary.last.reply(primary.last.sent[0])
  primary.last.drop()
  pass(20)
  primary.last.fail()
  pass(5)
  SilentXhr.last.openSession()
  assert.ok(socket.conn instanceof LongPoll)
  assert.equal(store.items.size, 0)
})

test("a session that remembers goes to LongPoll at once", () => {
  const {socket, primary} = start({sessionStorage: memory({"phx:fallback:LongPoll": "true"})})
  assert.ok(socket.conn instanceof LongPoll)
  assert.equal(primary.instances.length, 0)
})

test("a store that refuses does no harm", () => {
  const refuse = () => {
    throw new Error("denied")
  }
  const {socket, primary} = start({sessionStorage: {getItem: refuse, setItem: refuse}})
  assert.ok(socket.conn instanceof primary)
  pass(2005)
  SilentXhr.last.openSession()
  assert.equal(socket.isConnected(), true)
})

test("the memory is the page's sessionStorage by default", () => {
  globalThis.sessionStorage = memory({"phx:fallback:LongPoll": "true"})
  try {
    assert.ok(start({sessionStorage: undefined}).socket.conn instanceof LongPoll)
  } finally {
    delete globalThis.sessionStorage
  }
})

test("a page whose sessionStorage is blocked works without", () => {
  Object.defineProperty(globalThis, "sessionStorage", {
    configurable: true,
    get() {
      throw new Error("SecurityError")
    },
  })
  try {
    const {socket, primary} = start({sessionStorage: undefined})
    assert.ok(socket.conn instanceof primary)
  } finally {
    delete globalThis.sessionStorage
  }
})

test("disconnect calls the fallback off", () => {
  const {socket} = start()
  socket.disconnect()
  pass(10_000, 100)
  assert.equal(socket.conn, null)
})

test("there is no fallback without longPollFallbackMs", () => {
  const {socket, primary} = start({longPollFallbackMs: undefined})
  socket.conn.fail()
  pass(20)
  assert.ok(socket.conn instanceof primary)
})

test("reconnecting leaves no callbacks behind", () => {
  const {socket, primary} = start()
  for (let round = 0; round < 5; round += 1) {
    primary.last.open()
    primary.last.reply(primary.last.sent[0])
    primary.last.drop()
    pass(20)
  }
  primary.last.open()
  assert.equal(primary.last.sentEvents("heartbeat").length, 1)
})
