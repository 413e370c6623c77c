import assert from "node:assert/strict"
import {createServer} from "node:http"
import {once} from "node:events"
import {afterEach, beforeEach, describe, mock, test} from "node:test"

import {LongPoll, Socket} from "../src/broadwing.js"
import {fakeTime, pass, realTime} from "../support/fakes.js"

/** Stands in for the browser's XMLHttpRequest; the test answers the requests. */
class FakeXhr {
  static requests = []

  static of(method) {
    return FakeXhr.requests.filter((xhr) => xhr.method === method)
  }

  headers = {}
  aborted = false
  onload = null
  onerror = null

  open(method, url) {
    Object.assign(this, {method, url})
  }

  setRequestHeader(name, value) {
    this.headers[name] = value
  }

  send(body) {
    this.body = body
    FakeXhr.requests.push(this)
  }

  abort() {
    this.aborted = true
  }

  answer(body) {
    this.responseText = typeof body === "string" ? body : JSON.stringify(body)
    this.onload()
  }

  get lines() {
    return this.body.split("\n")
  }
}

const lastPoll = () => FakeXhr.of("GET").at(-1)
const lastPost = () => FakeXhr.of("POST").at(-1)

/** A transport that records what it reports. */
function watched(protocols) {
  const transport = new LongPoll("wss://example.com/socket/websocket?vsn=2.0.0", protocols)
  const seen = []
  transport.onopen = () => seen.push("open")
  transport.onerror = (error) => seen.push(["error", error])
  transport.onclose = ({code, reason, wasClean}) => seen.push(["close", code, reason, wasClean])
  transport.onmessage = ({data}) => seen.push(data)
  return {transport, seen}
}

/** A transport whose session is open. */
function opened() {
  const {transport, seen} = watched()
  pass(1)
  lastPoll().answer({status: 410, token: "T", messages: []})
  seen.length = 0
  return {transport, seen}
}

beforeEach(() => {
  fakeTime()
  FakeXhr.requests = []
  globalThis.XMLHttpRequest = FakeXhr
})
afterEach(() => {
  delete globalThis.XMLHttpRequest
  realTime()
  mock.restoreAll()
})

describe("endpoint", () => {
  for (const [given, expected] of [
    ["ws://example.com/socket/websocket?vsn=2.0.0", "http://example.com/socket/longpoll?vsn=2.0.0"],
    ["wss://example.com/socket/websocket", "https://example.com/socket/longpoll"],
    ["https://example.com/websocket/websocket?to=/websocket", "https://example.com/websocket/longpoll?to=/websocket"],
  ]) {
    test(`of ${given} is ${expected}`, () => assert.equal(new LongPoll(given).pollEndpoint, expected))
  }
})

describe("auth token", () => { // checklist 279, 280
  for (const protocols of [undefined, null, []]) {
    test(`is none for protocols ${JSON.stringify(protocols)}`, () => {
      const {transport} = watched(protocols)
      pass(1)
      assert.equal(transport.authToken, null)
      assert.deepEqual(lastPoll().headers, {Accept: "application/json"})
    })
  }

  test("is decoded from the subprotocols and sent with the polls", () => {
    const {transport} = watched(["phoenix", "base64url.bearer.phx.MTIzNA"])
    pass(1)
    assert.equal(transport.authToken, "1234")
    assert.deepEqual(lastPoll().headers, {Accept: "application/json", "X-Phoenix-AuthToken": "1234"})
  })
})

describe("session", () => {
  test("opens with the first poll, on the next tick", () => {
    const {transport, seen} = watched()
    assert.equal(FakeXhr.requests.length, 0)
    assert.equal(transport.readyState, 0)
    assert.equal(transport.skipHeartbeat, true)
    pass(1)
    assert.equal(lastPoll().url, "https://example.com/socket/longpoll?vsn=2.0.0")
    lastPoll().answer({status: 410, token: "T", messages: []})
    assert.deepEqual(seen, ["open"])
    assert.equal(transport.readyState, 1)
    assert.equal(FakeXhr.of("GET").length, 2)
  })

  test("token goes into a header of polls and posts, and never into the URL", () => { // checklist 282
    const {transport} = opened()
    transport.send('[null,"1","phoenix","heartbeat",{}]')
    pass(1)
    assert.equal(lastPoll().headers["X-Phoenix-Longpoll-Token"], "T")
    assert.equal(lastPost().headers["X-Phoenix-Longpoll-Token"], "T")
    assert.ok(FakeXhr.requests.every(({url}) => !url.includes("token")))
  })

  test("polls at a URL of its own, so that no browser has it wait for the polls of another tab", () => {
    const own = () => {
      opened()
      return new URL(lastPoll().url)
    }
    const [first, second] = [own(), own()]
    assert.notEqual(first.href, second.href)
    for (const url of [first, second]) {
      url.searchParams.delete("_")
      assert.equal(url.href, "https://example.com/socket/longpoll?vsn=2.0.0")
    }
  })

  test("that closes before the first poll sends none", () => {
    const {transport, seen} = watched()
    transport.close()
    pass(10)
    assert.deepEqual(seen, [["close", 1005, "", true]])
    assert.equal(FakeXhr.requests.length, 0)
  })
})

describe("poll", () => {
  test("200 delivers each message in a task of its own, in order, and polls again", () => {
    const {seen} = opened()
    lastPoll().answer({status: 200, token: "T", messages: ['["1","1","t","a",{}]', '["1","2","t","b",{}]']})
    assert.deepEqual(seen, [])
    assert.equal(FakeXhr.of("GET").length, 3)
    pass(1)
    assert.deepEqual(seen, ['["1","1","t","a",{}]', '["1","2","t","b",{}]'])
  })

  test("204 polls again", () => {
    const {seen} = opened()
    lastPoll().answer({status: 204, token: "T", messages: []})
    assert.equal(FakeXhr.of("GET").length, 3)
    assert.deepEqual(seen, [])
  })

  test("an answer without the token does not lose it", () => {
    opened()
    lastPoll().answer({status: 204})
    assert.equal(lastPoll().headers["X-Phoenix-Longpoll-Token"], "T")
  })

  test("410 with a token ends the session with 3410", () => { // checklist 281
    const {transport, seen} = opened()
    lastPoll().answer({status: 410, token: "new", messages: []})
    assert.deepEqual(seen, [["error", 410], ["close", 3410, "session_gone", false]])
    assert.equal(transport.readyState, 0)
    pass(1000)
    assert.equal(FakeXhr.of("GET").length, 2)
  })

  test("403 is forbidden", () => {
    const {transport, seen} = watched()
    pass(1)
    lastPoll().answer({status: 403})
    assert.deepEqual(seen, [["error", 403], ["close", 1008, "forbidden", false]])
    assert.equal(transport.readyState, 3)
  })

  for (const [name, body] of [
    ["500", {status: 500}],
    ["a crash of the server", {errors: {detail: "Internal Server Error"}}],
    ["a proxy's page", "<html>502</html>"],
    ["an empty body", ""],
    ["null", "null"],
    ["a status nobody knows", {status: 418}],
    ["a refusal without a token", {status: 410}],
  ]) {
    test(`${name} fails with 500 and can be tried again`, () => {
      const {transport, seen} = watched()
      pass(1)
      lastPoll().answer(body)
      assert.deepEqual(seen, [["error", 500], ["close", 1011, "internal server error", false]])
      assert.equal(transport.readyState, 0)
    })
  }

  test("no answer at all fails with 500", () => {
    const {seen} = opened()
    lastPoll().onerror()
    assert.deepEqual(seen, [["error", 500], ["close", 1011, "internal server error", false]])
  })

  test("an answer that takes longer than the timeout fails with 1005", () => {
    const {transport, seen} = watched()
    transport.timeout = 5000
    pass(1)
    pass(4995)
    assert.deepEqual(seen, [])
    pass(5)
    assert.deepEqual(seen, [["error", "timeout"], ["close", 1005, "timeout", false]])
    assert.equal(lastPoll().aborted, true)
    assert.equal(transport.readyState, 0)
  })
})

describe("binary messages", () => {
  const bytes = (buffer) => [...new Uint8Array(buffer)]

  test("arrive as text when their bytes are UTF-8", () => {
    const {seen} = opened()
    // Phoenix 1.8.12 recording: binary push echo over long polling, data "DATA".
    lastPoll().answer('{"messages":["\\u0001\\u0001\\u0001\\n\\u000217room:lobbyokDATA"],"status":200,"token":"T"}')
    pass(1)
    assert.ok(seen[0] instanceof ArrayBuffer)
    assert.equal(Buffer.from(seen[0]).toString("latin1"), "\x01\x01\x01\x0a\x0217room:lobbyokDATA")
  })

  test("keep their multi-byte characters", () => {
    const {seen} = opened()
    lastPoll().answer({status: 200, token: "T", messages: ["\x02\x02\x01ütä"]})
    pass(1)
    assert.deepEqual(bytes(seen[0]), [2, 2, 1, 0xc3, 0xbc, 0x74, 0xc3, 0xa4])
  })

  test("arrive in base64 when they are not UTF-8", () => {
    const {seen} = opened()
    // Phoenix 1.8.12 recording: binary broadcast with data 00 01 02 fe ff.
    const frame = Buffer.from("020a07726f6f6d3a6c6f6262796e65775f6d7367000102feff", "hex")
    lastPoll().answer({status: 200, token: "T", messages: [frame.toString("base64"), '[null,null,"t","e",{}]']})
    pass(1)
    assert.deepEqual(bytes(seen[0]), [...frame])
    assert.equal(seen[1], '[null,null,"t","e",{}]')
  })

  test("are not confused with the text of version 1.0.0", () => {
    const {seen} = opened()
    const text = '{"event":"e","payload":{},"ref":null,"topic":"t"}'
    lastPoll().answer({status: 200, token: "T", messages: [text]})
    pass(1)
    assert.deepEqual(seen, [text])
  })

  test("leave in base64", () => {
    const {transport} = opened()
    transport.send(Uint8Array.from([0, 1, 2, 254, 255]).buffer)
    transport.send(Uint8Array.from([0, 1]))
    pass(1)
    assert.deepEqual(lastPost().lines, ["AAEC/v8=", "AAE="])
  })

  test("of any size survive the way to base64", () => {
    const {transport} = opened()
    const data = new Uint8Array(200_000).map((_, index) => index)
    transport.send(data.buffer)
    pass(1)
    assert.ok(Buffer.from(lastPost().body, "base64").equals(Buffer.from(data)))
  })
})

describe("posts", () => { // checklist 283
  const message = (n) => `[null,"${n}","t","e",{}]`
  const range = (from, to) => Array.from({length: to - from + 1}, (_, index) => message(from + index))

  test("sends of one tick go in one POST, a line each", () => {
    const {transport} = opened()
    for (const line of range(1, 3)) transport.send(line)
    assert.equal(FakeXhr.of("POST").length, 0)
    pass(1)
    assert.equal(FakeXhr.of("POST").length, 1)
    assert.equal(lastPost().headers["Content-Type"], "application/x-ndjson")
    assert.equal(lastPost().body, range(1, 3).join("\n"))
  })

  test("sends during a POST wait for its answer", () => {
    const {transport} = opened()
    transport.send(message(1))
    pass(1)
    transport.send(message(2))
    transport.send(message(3))
    pass(100)
    assert.equal(FakeXhr.of("POST").length, 1)
    lastPost().answer({status: 200})
    assert.equal(FakeXhr.of("POST").length, 2)
    assert.deepEqual(lastPost().lines, range(2, 3))
    lastPost().answer({status: 200})
    assert.equal(FakeXhr.of("POST").length, 2)
  })

  test("150 sends go as 100 and 50, in order", () => {
    const {transport} = opened()
    for (const line of range(1, 150)) transport.send(line)
    pass(1)
    assert.deepEqual(lastPost().lines, range(1, 100))
    assert.equal(transport.bufferedAmount, 150)
    lastPost().answer({status: 200})
    assert.deepEqual(lastPost().lines, range(101, 150))
    assert.equal(transport.bufferedAmount, 50)
    lastPost().answer({status: 200})
    assert.equal(transport.bufferedAmount, 0)
    assert.equal(FakeXhr.of("POST").length, 2)
  })

  test("a batch stays below the 8,000,000 bytes a server reads", () => {
    const {transport} = opened()
    const line = (letter) => `["${letter.repeat(1_500_000)}"]`
    const lines = ["☃", "a", "b"].map(line)
    for (const each of lines) transport.send(each)
    pass(1)
    const bodies = []
    while (FakeXhr.of("POST").length > bodies.length) {
      bodies.push(lastPost().body)
      lastPost().answer({status: 200})
    }
    assert.equal(bodies.join("\n"), lines.join("\n"))
    assert.ok(bodies.every((body) => Buffer.byteLength(body) < 8_000_000))
  })

  test("a message too long for any batch is sent alone", () => {
    const {transport} = opened()
    const long = `["${"a".repeat(3_000_000)}"]`
    transport.send(message(1))
    transport.send(long)
    transport.send(message(2))
    pass(1)
    assert.equal(lastPost().body, message(1))
    lastPost().answer({status: 200})
    assert.equal(lastPost().body, long)
    lastPost().answer({status: 200})
    assert.equal(lastPost().body, message(2))
  })

  for (const status of [408, 410, 403, 500]) {
    test(`${status} fails the transport`, () => {
      const {transport, seen} = opened()
      transport.send(message(1))
      pass(1)
      transport.send(message(2))
      lastPost().answer({status})
      assert.deepEqual(seen, [["error", status], ["close", 1011, "internal server error", false]])
      assert.equal(transport.readyState, 0)
      assert.equal(transport.bufferedAmount, 0)
      assert.equal(lastPoll().aborted, true)
    })
  }

  test("no answer at all fails the transport", () => {
    const {transport, seen} = opened()
    transport.send(message(1))
    pass(1)
    lastPost().onerror()
    assert.deepEqual(seen, [["error", 500], ["close", 1011, "internal server error", false]])
  })

  test("a POST that takes too long drops what waits behind it, and later sends work", () => { // checklist 284
    const {transport, seen} = opened()
    transport.send(message(1))
    pass(1)
    transport.send(message(2))
    for (let left = 20_000; left > 0; left -= 5000) {
      lastPoll().answer({status: 204, token: "T", messages: []})
      pass(5000)
    }
    assert.deepEqual(seen, [["error", "timeout"], ["close", 1005, "timeout", false]])
    assert.equal(transport.readyState, 0)
    assert.equal(transport.bufferedAmount, 0)
    transport.send(message(3))
    pass(1)
    assert.equal(FakeXhr.of("POST").length, 2)
    assert.equal(lastPost().body, message(3))
    lastPost().answer({status: 200})
  })
})

describe("close", () => {
  test("aborts the requests, drops what waits, and says so once", () => {
    const {transport, seen} = opened()
    transport.send("[1]")
    pass(1)
    transport.send("[2]")
    transport.close(1000, "bye")
    assert.deepEqual(seen, [["close", 1000, "bye", true]])
    assert.equal(transport.readyState, 3)
    assert.ok(lastPoll().aborted && lastPost().aborted)
    lastPoll().answer({status: 200, token: "T", messages: ["[3]"]})
    lastPost().answer({status: 200})
    pass(1000)
    assert.equal(seen.length, 1)
    assert.equal(FakeXhr.of("POST").length, 1)
  })

  test("drops what was sent in the same tick", () => {
    const {transport} = opened()
    transport.send("[1]")
    transport.close()
    pass(10)
    assert.equal(FakeXhr.of("POST").length, 0)
  })

  test("in the open callback leaves no poll behind", () => {
    const {transport} = watched()
    transport.onopen = () => transport.close()
    pass(1)
    lastPoll().answer({status: 410, token: "T", messages: []})
    assert.equal(FakeXhr.of("GET").length, 1)
  })
})

describe("with a socket", () => {
  function socketOverLongPoll() {
    const socket = new Socket("/socket", {transport: LongPoll, reconnectAfterMs: () => 20})
    socket.endPoint = "ws://example.com/socket/websocket"
    socket.connect()
    pass(1)
    lastPoll().answer({status: 410, token: "T", messages: []})
    return socket
  }

  test("a session that is gone leads to a new one, and the channels rejoin", () => {
    const socket = socketOverLongPoll()
    const channel = socket.channel("topic")
    const closes = []
    socket.onClose(({code}) => closes.push(code))
    channel.join()
    pass(1)
    lastPost().answer({status: 200})
    lastPoll().answer({status: 200, token: "T", messages: ['["1","1","topic","phx_reply",{"status":"ok","response":{}}]'.replaceAll('"1"', `"${channel.joinRef()}"`)]})
    pass(1)
    assert.equal(channel.state, "joined")
    lastPoll().answer({status: 410, token: "T2", messages: []})
    assert.equal(channel.state, "errored")
    assert.equal(socket.connectionState(), "connecting")
    pass(25)
    assert.equal(lastPoll().headers["X-Phoenix-Longpoll-Token"], undefined)
    assert.deepEqual(closes, [3410])
    lastPoll().answer({status: 410, token: "T3", messages: []})
    pass(1)
    assert.equal(JSON.parse(lastPost().body)[3], "phx_join")
    assert.equal(lastPost().headers["X-Phoenix-Longpoll-Token"], "T3")
    socket.disconnect()
  })

  test("disconnect waits for the last messages to be posted", () => {
    const socket = socketOverLongPoll()
    socket.push({topic: "t", event: "goodbye", payload: {}})
    let called = 0
    socket.disconnect(() => called++)
    pass(1)
    assert.equal(JSON.parse(lastPost().body)[3], "goodbye")
    assert.equal(called, 0)
    lastPost().answer({status: 200})
    pass(150)
    assert.equal(called, 1)
    assert.equal(lastPoll().aborted, true)
  })
})

describe("requests", () => { // checklist 285
  test("use XMLHttpRequest where there is one", () => {
    const fetched = mock.method(globalThis, "fetch", () => assert.fail("not used"))
    watched()
    pass(1)
    assert.equal(FakeXhr.requests.length, 1)
    assert.equal(fetched.mock.callCount(), 0)
  })

  test("use fetch where there is none", () => {
    delete globalThis.XMLHttpRequest
    const fetched = mock.method(globalThis, "fetch", () => new Promise(() => {}))
    const {transport} = watched(["phoenix", "base64url.bearer.phx.MTIzNA"])
    pass(1)
    const [url, {method, headers, signal}] = fetched.mock.calls[0].arguments
    assert.equal(url, "https://example.com/socket/longpoll?vsn=2.0.0")
    assert.equal(method, "GET")
    assert.deepEqual(headers, {Accept: "application/json", "X-Phoenix-AuthToken": "1234"})
    assert.equal(signal.aborted, false)
    transport.close()
    assert.equal(signal.aborted, true)
  })
})

test("a story over HTTP, with fetch and real time", async () => {
  realTime()
  delete globalThis.XMLHttpRequest
  const posts = []
  let waiting = null
  let outbox = []
  const deliver = () => {
    if (!waiting || outbox.length === 0) return
    json(waiting, {status: 200, token: "T", messages: outbox})
    outbox = []
    waiting = null
  }
  const json = (response, body) => response.writeHead(200, {"content-type": "application/json; charset=utf-8"}).end(JSON.stringify(body))
  // A session of the long-poll transport in small: the first GET opens it, a POSTed message is answered by the poll.
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      if (request.headers["x-phoenix-longpoll-token"] !== "T") return json(response, {status: 410, token: "T", messages: []})
      waiting = response
      return deliver()
    }
    let body = ""
    for await (const chunk of request) body += chunk
    posts.push([request.headers["content-type"], body])
    json(response, {status: 200})
    outbox.push(...body.split("\n").map((line) => {
      if (line.startsWith("[")) {
        const [joinRef, ref, topic] = JSON.parse(line)
        return JSON.stringify([joinRef, ref, topic, "phx_reply", {status: "ok", response: {}}])
      }
      // An echo: the push's fields without the event, and a status in its place.
      const frame = Buffer.from(line, "base64")
      const [, joinRef, ref, topic, event] = frame
      const fields = 5 + joinRef + ref + topic
      const reply = [Buffer.of(1, joinRef, ref, topic, 2), frame.subarray(5, fields), Buffer.from("ok"), frame.subarray(fields + event)]
      return Buffer.concat(reply).toString("base64")
    }))
    deliver()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const socket = new Socket(`ws://127.0.0.1:${server.address().port}/socket`, {transport: LongPoll})
  try {
    const channel = socket.channel("hi")
    socket.connect()
    await new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("timeout", reject))
    const push = channel.push("echo", Uint8Array.of(255, 254))
    assert.deepEqual([...new Uint8Array(await new Promise((resolve) => push.receive("ok", resolve)))], [255, 254])
    assert.equal(posts.length, 2)
    assert.ok(posts.every(([type]) => type === "application/x-ndjson"))
    const {ref} = channel.joinPush
    assert.deepEqual(JSON.parse(posts[0][1]), [ref, ref, "hi", "phx_join", {}])
  } finally {
    await new Promise((resolve) => socket.disconnect(resolve))
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})
