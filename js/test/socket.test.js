import assert from "node:assert/strict"
import {afterEach, beforeEach, describe, mock, test} from "node:test"

import {LongPoll, Serializer, Socket} from "../src/broadwing.js"
import {FakePage, connected, fakeSocket, fakeTime, fakeTransport, joined, pass, realTime} from "../support/fakes.js"

beforeEach(fakeTime)
afterEach(realTime)

/** Pretends to be a browser whose global WebSocket is the given class. */
function withWebSocket(transport, run) {
  const real = Object.getOwnPropertyDescriptor(globalThis, "WebSocket")
  Object.defineProperty(globalThis, "WebSocket", {value: transport, configurable: true, writable: true})
  try {
    run()
  } finally {
    if (real) Object.defineProperty(globalThis, "WebSocket", real)
    else delete globalThis.WebSocket
  }
}

function onPage(protocol, run) {
  const page = new FakePage(protocol)
  page.install()
  try {
    run(page)
  } finally {
    page.remove()
  }
}

describe("constructor", () => {
  test("has the defaults of the official client", () => { // checklist 242
    const transport = fakeTransport()
    withWebSocket(transport, () => {
      const socket = new Socket("/socket")
      assert.deepEqual(socket.channels, [])
      assert.deepEqual(socket.sendBuffer, [])
      assert.equal(socket.ref, 0)
      assert.equal(socket.endPoint, "/socket/websocket")
      assert.equal(socket.timeout, 10_000)
      assert.equal(socket.longpollerTimeout, 20_000)
      assert.equal(socket.heartbeatIntervalMs, 30_000)
      assert.equal(socket.logger, null)
      assert.equal(socket.hasLogger(), false)
      assert.equal(socket.binaryType, "arraybuffer")
      assert.equal(socket.vsn, "2.0.0")
      assert.equal(socket.transport, transport)
      assert.equal(socket.conn, null)
    })
  })

  test("uses LongPoll where there is no WebSocket", () => {
    withWebSocket(undefined, () => assert.equal(new Socket("/socket").transport, LongPoll))
  })

  test("lets options override the defaults", () => { // checklist 243
    const logger = () => {}
    const transport = fakeTransport()
    const reconnectAfterMs = () => 1
    const rejoinAfterMs = () => 2
    const socket = new Socket("/socket", {
      timeout: 40_000,
      longpollerTimeout: 50_000,
      heartbeatIntervalMs: 60_000,
      binaryType: "blob",
      vsn: "2.0.9",
      logger,
      transport,
      reconnectAfterMs,
      rejoinAfterMs,
    })
    assert.equal(socket.timeout, 40_000)
    assert.equal(socket.longpollerTimeout, 50_000)
    assert.equal(socket.heartbeatIntervalMs, 60_000)
    assert.equal(socket.binaryType, "blob")
    assert.equal(socket.vsn, "2.0.9")
    assert.equal(socket.logger, logger)
    assert.equal(socket.hasLogger(), true)
    assert.equal(socket.transport, transport)
    assert.equal(socket.reconnectAfterMs, reconnectAfterMs)
    assert.equal(socket.rejoinAfterMs, rejoinAfterMs)
  })

  test("takes params as a value or as a function", () => { // checklist 243
    assert.deepEqual(new Socket("/socket", {params: {one: 1}}).params(), {one: 1})
    assert.deepEqual(new Socket("/socket", {params: () => ({one: 1})}).params(), {one: 1})
    assert.deepEqual(new Socket("/socket").params(), {})
  })

  test("logs to the console with debug, and to the logger when there is one", () => {
    const log = mock.method(console, "log", () => {})
    new Socket("/socket", {debug: true}).log("kind", "message", 1)
    assert.deepEqual(log.mock.calls[0].arguments, ["kind: message", 1])
    const lines = []
    new Socket("/socket", {debug: true, logger: (...line) => lines.push(line)}).log("kind", "message", 2)
    assert.deepEqual(lines, [["kind", "message", 2]])
    assert.equal(log.mock.callCount(), 1)
    mock.restoreAll()
  })

  test("logs what is sent and received, but neither params nor tokens", () => {
    const lines = []
    const logger = (kind, message, data) => lines.push([kind, message, data])
    const {socket, conn} = connected({logger, params: {token: "secret"}, authToken: "secret"})
    socket.push({topic: "t", event: "e", payload: {n: 1}, ref: "2", join_ref: "1"})
    conn.receive("1", "2", "t", "phx_reply", {status: "ok", response: {}})
    assert.deepEqual(lines, [
      ["transport", "connected to ws://example.com/socket/websocket", undefined],
      ["push", "t e (1, 2)", {n: 1}],
      ["receive", "ok t phx_reply (2)", {status: "ok", response: {}}],
    ])
  })
})

describe("URL", () => { // checklist 246
  test("a full URL is kept, with the version and the params", () => {
    assert.equal(new Socket("wss://example.org/chat").endPointURL(), "wss://example.org/chat/websocket?vsn=2.0.0")
    assert.equal(
      new Socket("ws://example.org/chat", {params: {user: {id: 7}}}).endPointURL(),
      "ws://example.org/chat/websocket?user%5Bid%5D=7&vsn=2.0.0",
    )
  })

  for (const [page, scheme] of [["http:", "ws"], ["https:", "wss"]]) {
    test(`a path and a protocol-relative URL become ${scheme} on a page of ${page}`, () => {
      onPage(page, () => {
        assert.equal(new Socket("/socket").protocol(), scheme)
        assert.equal(new Socket("/socket").endPointURL(), `${scheme}://example.com:4000/socket/websocket?vsn=2.0.0`)
        assert.equal(new Socket("//other.com/socket").endPointURL(), `${scheme}://other.com/socket/websocket?vsn=2.0.0`)
      })
    })
  }

  test("a path needs a page", () => {
    assert.throws(() => new Socket("/socket").endPointURL(), /no page that "\/socket\/websocket".*full URL/)
  })

  test("params are asked for on every connect", () => {
    let count = 0
    const {socket, conn} = connected({params: () => ({count: ++count})})
    assert.match(conn.url, /\?count=1&vsn=2.0.0$/)
    conn.drop()
    pass(20)
    assert.notEqual(socket.conn, conn)
    assert.match(socket.conn.url, /\?count=2&vsn=2.0.0$/)
  })
})

describe("auth token", () => { // checklist 266, for sockets
  // Standard base64 without padding: "1234" is MTIzNA==.
  test("is offered as a subprotocol beside phoenix", () => {
    const {conn} = connected({authToken: "1234"})
    assert.deepEqual(conn.protocols, ["phoenix", "base64url.bearer.phx.MTIzNA"])
    assert.doesNotMatch(conn.url, /1234|MTIz/)
  })

  test("a function is asked again on reconnect", () => { // checklist 248
    let token = "1234"
    const {socket, conn} = connected({authToken: () => token})
    token = "5678"
    conn.drop()
    pass(20)
    assert.deepEqual(socket.conn.protocols, ["phoenix", "base64url.bearer.phx.NTY3OA"])
  })

  test("no token means no subprotocols", () => {
    assert.equal(connected().conn.protocols, undefined)
    assert.equal(connected({authToken: () => null}).conn.protocols, undefined)
  })

  test("a token outside of ASCII travels as UTF-8", () => {
    assert.deepEqual(connected({authToken: "ü"}).conn.protocols, ["phoenix", "base64url.bearer.phx.w7w"])
  })
})

describe("connect", () => { // checklist 247
  test("makes one transport with the URL, the binary type and the timeout", () => {
    const socket = fakeSocket()
    socket.connect()
    assert.equal(socket.conn, socket.transport.last)
    assert.equal(socket.conn.url, "ws://example.com/socket/websocket?vsn=2.0.0")
    assert.equal(socket.conn.binaryType, "arraybuffer")
    assert.equal(socket.conn.timeout, 20_000)
  })

  test("is idempotent while connecting, while open and while waiting to reconnect", () => {
    const socket = fakeSocket()
    socket.connect()
    socket.connect()
    socket.conn.open()
    socket.connect()
    socket.conn.drop()
    socket.connect()
    assert.equal(socket.transport.instances.length, 1)
  })

  test("connects again after the server has said goodbye with 1000", () => {
    const {socket, conn} = connected()
    conn.drop(1000)
    pass(10_000)
    assert.equal(socket.transport.instances.length, 1)
    socket.connect()
    assert.equal(socket.transport.instances.length, 2)
  })

  test("still takes params, with a word of warning", () => {
    const lines = []
    const socket = fakeSocket({logger: (kind, message) => lines.push(message)})
    socket.connect({token: "x"})
    assert.match(socket.conn.url, /token=x/)
    assert.match(lines[0], /deprecated/)
  })

  test("runs the callbacks for open, error, close and message", () => {
    const socket = fakeSocket()
    const seen = []
    socket.onOpen(() => seen.push("open"))
    socket.onError((error) => seen.push(error))
    socket.onClose(({code}) => seen.push(code))
    socket.onMessage(({event}) => seen.push(event))
    socket.connect()
    socket.conn.open()
    socket.conn.receive(null, null, "t", "hello", {})
    socket.conn.fail("broken")
    assert.deepEqual(seen, ["open", "hello", "broken", 1006])
  })

  test("callbacks that are taken off do not run", () => {
    const socket = fakeSocket()
    const seen = []
    const open = socket.onOpen(() => seen.push("open"))
    const close = socket.onClose(() => seen.push("close"))
    socket.onOpen(() => seen.push("other"))
    socket.off([open, close])
    socket.connect()
    socket.conn.open()
    socket.conn.drop()
    assert.deepEqual(seen, ["other"])
  })

  test("uses LongPoll's endpoint and timeout with LongPoll", () => { // checklist 249
    const socket = new Socket("wss://example.com/socket", {transport: LongPoll, longpollerTimeout: 5000})
    socket.connect()
    assert.ok(socket.conn instanceof LongPoll)
    assert.equal(socket.conn.pollEndpoint, "https://example.com/socket/longpoll?vsn=2.0.0")
    assert.equal(socket.conn.timeout, 5000)
    assert.equal(new Socket("/s", {transport: LongPoll}).longpollerTimeout, 20_000)
    socket.disconnect()
  })

  test("tries again when params cannot be had at a reconnect", () => {
    let broken = false
    const {socket, conn} = connected({
      params: () => {
        if (broken) throw new Error("no storage")
        return {}
      },
    })
    broken = true
    conn.drop()
    // Called by hand: Node's mock clock runs a timer again whose callback threw.
    assert.throws(() => socket.reconnectTimer.callback(), /no storage/)
    broken = false
    pass(20)
    assert.equal(socket.transport.instances.length, 2)
  })
})

describe("disconnect", () => { // checklist 250
  test("forgets the connection and calls back", () => {
    const {socket, conn} = connected()
    let called = 0
    socket.disconnect(() => called++)
    assert.equal(called, 1)
    assert.equal(socket.conn, null)
    assert.deepEqual(conn.closeCalls, [[]])
  })

  test("passes code and reason on", () => {
    const {socket, conn} = connected()
    socket.disconnect(null, 3000, "reason")
    assert.deepEqual(conn.closeCalls, [[3000, "reason"]])
  })

  test("a code needs no reason", () => {
    const {socket, conn} = connected()
    socket.disconnect(null, 3000)
    assert.deepEqual(conn.closeCalls, [[3000, ""]])
  })

  test("calls back without a connection, too", () => {
    let called = 0
    fakeSocket().disconnect(() => called++)
    assert.equal(called, 1)
  })

  test("waits for what was sent to leave", () => {
    const {socket, conn} = connected()
    conn.bufferedAmount = 10
    socket.disconnect()
    pass(145)
    assert.deepEqual(conn.closeCalls, [])
    conn.bufferedAmount = 0
    pass(5)
    assert.equal(conn.closeCalls.length, 1)
  })

  test("closes after 150, 300, 450 and 600 ms even if nothing leaves", () => {
    const {socket, conn} = connected()
    conn.bufferedAmount = 10
    socket.disconnect()
    pass(1495)
    assert.deepEqual(conn.closeCalls, [])
    pass(5)
    assert.equal(conn.closeCalls.length, 1)
  })

  test("waits for the close to be confirmed, within the same limits", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    let called = 0
    socket.disconnect(() => called++)
    assert.equal(socket.connectionState(), "closing")
    pass(1495)
    assert.equal(called, 0)
    pass(5)
    assert.equal(called, 1)
    assert.equal(socket.conn, null)
  })

  test("a close that is never confirmed is reported all the same", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const closes = []
    socket.onClose((event) => closes.push(event))
    conn.confirmsClose = false
    socket.disconnect()
    pass(1500)
    assert.equal(closes.length, 1)
    assert.equal(closes[0].wasClean, false)
    assert.equal(channel.state, "errored")
    conn.drop()
    assert.equal(closes.length, 1)
  })

  test("connect during the teardown keeps the new connection", () => { // checklist 251
    const {socket, conn} = connected()
    const channel = joined(socket)
    conn.confirmsClose = false
    let called = 0
    const closes = []
    socket.onClose((event) => closes.push(event))
    socket.disconnect(() => called++)
    socket.connect()
    const second = socket.conn
    assert.notEqual(second, conn)
    assert.equal(closes.length, 1, "the old connection's end is reported when it is replaced")
    second.open()
    assert.equal(second.sentEvents("phx_join").length, 1)
    assert.equal(channel.state, "joining")
    pass(1500)
    assert.equal(called, 1)
    assert.equal(socket.conn, second)
    let heard = 0
    socket.onMessage(() => heard++)
    conn.receive(null, null, "topic", "event", {})
    conn.drop()
    assert.equal(heard, 0)
    assert.equal(socket.isConnected(), true)
    pass(1000)
    assert.equal(socket.transport.instances.length, 2)
  })

  test("while connecting is not an error", () => {
    const socket = fakeSocket()
    const seen = []
    socket.onError(() => seen.push("error"))
    socket.onClose(() => seen.push("close"))
    socket.connect()
    socket.disconnect()
    assert.deepEqual(seen, ["close"])
    assert.equal(socket.conn, null)
  })

  test("connect during the teardown is idempotent as well", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    socket.disconnect()
    socket.connect()
    socket.connect()
    assert.equal(socket.transport.instances.length, 2)
  })

  test("both callbacks of a double disconnect run", () => { // checklist 251
    const {socket, conn} = connected()
    conn.confirmsClose = false
    const called = []
    socket.disconnect(() => called.push(1))
    socket.disconnect(() => called.push(2))
    pass(1500)
    assert.deepEqual(called.sort(), [1, 2])
    assert.equal(socket.conn, null)
  })

  test("a callback of the close event may connect again", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    let again = true
    socket.onClose(() => {
      if (!again) return
      again = false
      socket.connect()
    })
    socket.disconnect()
    socket.connect()
    assert.equal(socket.transport.instances.length, 2)
    pass(2000)
    assert.equal(socket.conn, socket.transport.last)
  })

  test("an open that comes during the teardown is not an open", () => {
    const socket = fakeSocket()
    socket.connect()
    const conn = socket.conn
    conn.confirmsClose = false
    let opens = 0
    socket.onOpen(() => opens++)
    socket.disconnect()
    conn.open()
    pass(1500)
    assert.equal(opens, 0)
    pass(10_000)
    assert.equal(socket.transport.instances.length, 1)
  })
})

describe("state", () => { // checklist 252
  test("follows the readyState of the transport", () => {
    const socket = fakeSocket()
    assert.equal(socket.connectionState(), "closed")
    assert.equal(socket.isConnected(), false)
    socket.connect()
    for (const [readyState, state] of [[0, "connecting"], [1, "open"], [2, "closing"], [3, "closed"], [5678, "closed"]]) {
      socket.conn.readyState = readyState
      assert.equal(socket.connectionState(), state)
      assert.equal(socket.isConnected(), state === "open")
    }
  })
})

describe("channels", () => { // checklist 253
  test("are made with topic and params and kept", () => {
    const socket = fakeSocket()
    const channel = socket.channel("topic", {one: "two"})
    assert.equal(channel.socket, socket)
    assert.equal(channel.topic, "topic")
    assert.deepEqual(channel.params(), {one: "two"})
    assert.deepEqual(socket.channels, [channel])
  })

  test("remove drops the channel and its callbacks, and no other's", () => {
    const {socket, conn} = connected()
    const gone = joined(socket, "gone")
    const kept = joined(socket, "kept")
    socket.remove(gone)
    assert.deepEqual(socket.channels, [kept])
    conn.drop()
    pass(20)
    socket.conn.open()
    assert.deepEqual(socket.conn.sent.map(([, , topic]) => topic), ["kept"])
  })
})

describe("push", () => { // checklist 254
  const message = {topic: "topic", event: "event", payload: "payload", ref: "ref", join_ref: "join_ref"}
  const wire = ["join_ref", "ref", "topic", "event", "payload"]

  test("sends when connected", () => {
    const {socket, conn} = connected()
    socket.push(message)
    assert.deepEqual(conn.sent, [wire])
    assert.deepEqual(socket.sendBuffer, [])
  })

  test("keeps the message while connecting, and sends it on open in order", () => {
    const socket = fakeSocket()
    socket.connect()
    socket.push(message)
    socket.push({...message, ref: "second"})
    assert.deepEqual(socket.conn.sent, [])
    assert.equal(socket.sendBuffer.length, 2)
    socket.conn.open()
    assert.deepEqual(socket.conn.sent, [wire, wire.with(1, "second")])
    assert.deepEqual(socket.sendBuffer, [])
  })

  test("flushSendBuffer does nothing without a connection", () => {
    const socket = fakeSocket()
    socket.push(message)
    socket.flushSendBuffer()
    assert.equal(socket.sendBuffer.length, 1)
  })

  test("a kept message that cannot be encoded does not hold up the others", () => {
    const socket = fakeSocket()
    socket.connect()
    socket.push({...message, topic: "t".repeat(256), payload: new ArrayBuffer(1)})
    socket.push(message)
    let opened = false
    socket.onOpen(() => (opened = true))
    socket.conn.open()
    assert.deepEqual(socket.conn.sent, [wire])
    assert.equal(opened, true)
    assert.throws(() => pass(1), /unable to convert topic to binary/)
  })

  test("sends a binary payload as a binary frame", () => {
    const {socket, conn} = connected()
    socket.push({topic: "topic", event: "event", ref: "123", join_ref: "12", payload: Uint8Array.of(101, 102, 103).buffer})
    assert.equal(Buffer.from(conn.raw[0]).toString("hex"), "00020305053132313233746f7069636576656e74656667")
  })
})

describe("makeRef", () => { // checklist 255
  test("counts up in strings", () => {
    const socket = fakeSocket()
    assert.equal(socket.makeRef(), "1")
    assert.equal(socket.makeRef(), "2")
    assert.equal(socket.ref, 2)
  })

  test('restarts at "0" when the number cannot grow', () => {
    const socket = fakeSocket()
    socket.ref = Number.MAX_SAFE_INTEGER + 1
    assert.equal(socket.makeRef(), "0")
    assert.equal(socket.makeRef(), "1")
  })
})

describe("heartbeat", () => { // checklist 256
  test("is sent an interval after open, and an interval after each answer", () => {
    const {conn} = connected()
    pass(29_900, 100)
    assert.deepEqual(conn.sent, [])
    pass(100)
    assert.deepEqual(conn.sent, [[null, "1", "phoenix", "heartbeat", {}]])
    pass(10_000, 100)
    conn.reply(conn.sent[0])
    pass(29_900, 100)
    assert.equal(conn.sent.length, 1)
    pass(100)
    assert.deepEqual(conn.sent[1], [null, "2", "phoenix", "heartbeat", {}])
    assert.deepEqual(conn.closeCalls, [])
  })

  test("is not sent while connecting", () => {
    const socket = fakeSocket()
    socket.connect()
    pass(90_000, 1000)
    assert.deepEqual(socket.conn.sent, [])
  })

  test("is not sent by a transport that does without", () => {
    const socket = fakeSocket()
    socket.connect()
    socket.conn.skipHeartbeat = true
    socket.conn.open()
    pass(90_000, 1000)
    assert.deepEqual(socket.conn.sent, [])
  })

  test("unanswered for an interval, it ends the connection and makes a new one", () => { // checklist 256, 258
    const {socket, conn} = connected()
    const channel = joined(socket)
    const errors = []
    channel.onError((reason) => errors.push(reason))
    pass(59_900, 100)
    assert.deepEqual(conn.closeCalls, [])
    pass(100)
    assert.deepEqual(conn.closeCalls, [[1000, "heartbeat timeout"]])
    assert.deepEqual(errors, [{source: "transport", reason: "heartbeat_timeout"}])
    assert.equal(channel.state, "errored")
    pass(20)
    assert.equal(socket.transport.instances.length, 2)
    socket.conn.open()
    assert.equal(socket.conn.sentEvents("phx_join").length, 1)
  })

  test("on a dead network the new connection comes after the wait for the close, and there is one only", () => {
    const {socket, conn} = connected()
    const closes = []
    socket.onClose(({code}) => closes.push(code))
    conn.confirmsClose = false
    pass(60_000, 100)
    pass(1495)
    assert.equal(socket.transport.instances.length, 1)
    pass(30)
    assert.equal(socket.transport.instances.length, 2)
    assert.deepEqual(closes, [1000])
    socket.conn.open()
    conn.drop()
    pass(5000)
    assert.equal(socket.transport.instances.length, 2)
    assert.equal(socket.isConnected(), true)
  })

  test("a close event during that wait does not lead to a second reconnect", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    pass(60_000, 100)
    pass(50)
    conn.drop(1006)
    pass(20)
    assert.equal(socket.transport.instances.length, 2)
    socket.conn.open()
    pass(5000)
    assert.equal(socket.transport.instances.length, 2)
    assert.equal(socket.isConnected(), true)
  })

  test("a channel's error callback may disconnect for good", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    joined(socket).onError(() => socket.disconnect(null, 4000))
    pass(60_000, 100)
    pass(10_000, 100)
    assert.deepEqual(conn.closeCalls, [[4000, ""]])
    assert.equal(socket.transport.instances.length, 1)
    assert.equal(socket.conn, null)
  })

  test("is not sent after disconnect", () => { // checklist 260
    const {socket, conn} = connected()
    conn.bufferedAmount = 10
    pass(29_990, 10)
    socket.disconnect()
    pass(60_000, 100)
    assert.deepEqual(conn.sent, [])
  })

  test("is not kept for later when the connection is closing", () => {
    const {socket, conn} = connected()
    conn.readyState = 2
    pass(30_000, 100)
    assert.deepEqual(conn.sent, [])
    assert.deepEqual(socket.sendBuffer, [])
  })
})

describe("ping", () => { // checklist 263
  test("reports the time until the answer", () => {
    const {socket, conn} = connected()
    const rtts = []
    assert.equal(socket.ping((rtt) => rtts.push(rtt)), true)
    assert.deepEqual(conn.sent, [[null, "1", "phoenix", "heartbeat", {}]])
    pass(40)
    conn.receive(null, "other", "phoenix", "phx_reply", {status: "ok", response: {}})
    assert.deepEqual(rtts, [])
    conn.reply(conn.sent[0])
    conn.reply(conn.sent[0])
    assert.deepEqual(rtts, [40])
  })

  test("is false without a connection", () => {
    assert.equal(fakeSocket().ping(() => {}), false)
  })

  test("is forgotten with its connection", () => {
    const {socket, conn} = connected()
    let called = 0
    socket.ping(() => called++)
    const [ping] = conn.sent
    conn.drop()
    pass(20)
    socket.conn.open()
    socket.conn.reply(ping)
    assert.equal(called, 0)
  })
})

describe("reconnect", () => {
  test("does not wait for what a lost connection never sent", () => {
    const {socket, conn} = connected()
    conn.bufferedAmount = 10
    conn.drop()
    pass(20)
    assert.equal(socket.transport.instances.length, 2)
  })
})

describe("open", () => { // checklist 257
  test("resets the reconnect timer", () => {
    const asked = []
    const {socket, conn} = connected({reconnectAfterMs: (tries) => asked.push(tries) && 20})
    conn.drop()
    pass(20)
    socket.conn.fail()
    pass(20)
    assert.deepEqual(asked, [1, 2])
    socket.conn.open()
    socket.conn.drop()
    assert.deepEqual(asked, [1, 2, 1])
  })
})

describe("close", () => { // checklist 259
  for (const [code, reconnects] of [[1000, false], [1001, true], [1006, true], [1011, true], [1012, true]]) {
    test(`${code} ${reconnects ? "leads to a new connection" : "is the end"}`, () => {
      const {socket, conn} = connected()
      conn.drop(code)
      pass(1000)
      assert.equal(socket.transport.instances.length, reconnects ? 2 : 1)
    })
  }

  test("after disconnect there is no new connection", () => {
    const {socket, conn} = connected()
    conn.confirmsClose = false
    socket.disconnect()
    conn.drop(1001)
    pass(10_000, 100)
    assert.equal(socket.transport.instances.length, 1)
  })

  test("after disconnect and connect it reconnects as ever", () => {
    const {socket} = connected()
    socket.disconnect()
    socket.connect()
    socket.conn.open()
    socket.conn.drop(1001)
    pass(20)
    assert.equal(socket.transport.instances.length, 3)
  })

  test("disconnect cancels a reconnect that is due", () => {
    const {socket, conn} = connected()
    conn.drop()
    socket.disconnect()
    pass(1000)
    assert.equal(socket.transport.instances.length, 1)
  })

  test("fails joining and joined channels with connection_closed, and no channel that was left", () => { // checklist 260
    const {socket, conn} = connected()
    const errors = []
    const watch = (channel) => channel.onError((reason) => errors.push([channel.topic, reason]))
    const left = joined(socket, "left")
    watch(left)
    left.leave()
    watch(joined(socket, "joined"))
    const joining = socket.channel("joining")
    watch(joining)
    joining.join()
    conn.drop()
    const reason = {source: "transport", reason: "connection_closed"}
    assert.deepEqual(errors, [["joined", reason], ["joining", reason]])
  })
})

describe("error", () => { // checklist 261
  test("callbacks get the error, the transport and the number of connections so far", () => {
    const {socket, conn} = connected()
    const calls = []
    socket.onError((...args) => calls.push(args))
    conn.onerror("broken")
    assert.deepEqual(calls, [["broken", socket.transport, 1]])
  })

  test("fails joining and joined channels with connection_error, after the callbacks", () => {
    const {socket, conn} = connected()
    const seen = []
    const left = joined(socket, "left")
    left.onError(() => seen.push("left"))
    left.leave()
    joined(socket, "joined").onError((reason) => seen.push(reason))
    socket.onError(() => seen.push("callback"))
    conn.fail()
    assert.deepEqual(seen, ["callback", {source: "transport", reason: "connection_error"}])
  })

  test("fails no channel when a callback replaced the transport before there was a connection", () => {
    const socket = fakeSocket()
    const other = fakeTransport()
    const channel = socket.channel("topic")
    let errors = 0
    channel.onError(() => errors++)
    socket.onError(() => {
      socket.replaceTransport(other)
      socket.connect()
    })
    socket.connect()
    channel.join()
    const primary = socket.conn
    primary.fail()
    assert.equal(errors, 0)
    assert.equal(channel.state, "joining")
    other.last.open()
    assert.equal(other.last.sentEvents("phx_join").length, 1)
  })
})

describe("replaceTransport", () => {
  test("closes the connection and uses the new transport from the next connect on", () => {
    const {socket, conn} = connected()
    const channel = joined(socket)
    const other = fakeTransport()
    socket.replaceTransport(other)
    assert.equal(conn.closeCalls.length, 1)
    assert.equal(socket.conn, null)
    assert.equal(channel.state, "errored")
    pass(1000)
    assert.equal(other.instances.length, 0)
    socket.connect()
    other.last.open()
    assert.equal(other.last.sentEvents("phx_join").length, 1)
  })

  test("cancels a reconnect that is due", () => {
    const {socket, conn} = connected()
    const other = fakeTransport()
    conn.drop()
    socket.replaceTransport(other)
    pass(1000)
    assert.equal(other.instances.length, 0)
  })

  test("offers LongPoll by name", () => {
    assert.equal(fakeSocket().getLongPollTransport(), LongPoll)
  })
})

describe("message", () => { // checklist 262
  test("reaches the channel of its topic only, with event, payload, ref and join_ref", () => {
    const {socket, conn} = connected()
    const mine = joined(socket, "mine")
    const other = joined(socket, "other")
    const seen = []
    mine.on("event", (...args) => seen.push(args))
    other.on("event", () => seen.push("other"))
    conn.receive(mine.joinRef(), "9", "mine", "event", {one: 1})
    assert.deepEqual(seen, [[{one: 1}, "9", mine.joinRef()]])
  })

  test("reaches onMessage decoded, after the channels", () => {
    const {socket, conn} = connected()
    const seen = []
    socket.onMessage((message) => seen.push(message))
    joined(socket, "topic").on("event", () => seen.push("channel"))
    conn.receive(null, null, "topic", "event", {one: 1})
    assert.equal(seen.at(-2), "channel")
    assert.deepEqual(seen.at(-1), {join_ref: null, ref: null, topic: "topic", event: "event", payload: {one: 1}})
  })

  test("does not reach a channel that one of its callbacks makes", () => {
    const {socket, conn} = connected()
    const heard = []
    joined(socket, "topic").on("event", () => {
      heard.push("first")
      socket.channel("topic").on("event", () => heard.push("second"))
    })
    conn.receive(null, null, "topic", "event", {})
    assert.deepEqual(heard, ["first"])
  })

  test("survives a callback that removes its own channel", () => {
    const {socket, conn} = connected()
    const first = joined(socket, "topic")
    first.on("event", () => first.leave())
    const second = joined(socket, "second")
    let heard = 0
    second.on("event", () => heard++)
    conn.receive(null, null, "topic", "event", {})
    conn.receive(null, null, "second", "event", {})
    assert.deepEqual(socket.channels, [second])
    assert.equal(heard, 1)
  })
})

describe("encoder and decoder", () => { // checklist 264
  test("can be the application's own", () => {
    const encode = (message, callback) => callback(`mine:${message.event}`)
    const decode = (raw, callback) => callback({topic: "t", event: raw, payload: {}, ref: null})
    const {socket, conn} = connected({encode, decode})
    const seen = []
    socket.onMessage(({event}) => seen.push(event))
    socket.push({topic: "t", event: "hello", payload: {}})
    conn.onmessage({data: "raw"})
    assert.deepEqual(conn.raw, ["mine:hello"])
    assert.deepEqual(seen, ["raw"])
  })

  test("may take their time, and what was for one connection reaches no other", () => {
    const encoded = []
    const decoded = []
    const {socket, conn} = connected({
      encode: (message, callback) => encoded.push(() => callback(message.event)),
      decode: (raw, callback) => decoded.push(() => callback({topic: "t", event: raw, payload: {}, ref: null})),
    })
    const seen = []
    socket.onMessage(({event}) => seen.push(event))
    const finish = () => [...encoded.splice(0), ...decoded.splice(0)].forEach((end) => end())

    socket.push({topic: "t", event: "in time", payload: {}})
    conn.onmessage({data: "in time"})
    finish()
    assert.deepEqual([conn.raw, seen], [["in time"], ["in time"]])

    socket.push({topic: "t", event: "late", payload: {}})
    conn.onmessage({data: "late"})
    conn.drop()
    finish()
    assert.deepEqual([conn.raw, seen], [["in time"], ["in time"]])

    pass(20)
    socket.conn.open()
    socket.push({topic: "t", event: "later", payload: {}})
    socket.conn.onmessage({data: "later"})
    socket.disconnect()
    socket.connect()
    socket.conn.open()
    finish()
    assert.deepEqual([conn.raw, socket.conn.raw, seen], [["in time"], [], ["in time"]])
  })

  test("are JSON by default, and always with LongPoll", () => {
    const encode = () => assert.fail("not used")
    const longPolling = new Socket("/socket", {transport: LongPoll, encode, decode: encode})
    for (const socket of [longPolling, fakeSocket()]) {
      assert.equal(socket.encode, Serializer.encode)
      assert.equal(socket.decode, Serializer.decode)
    }
  })
})
