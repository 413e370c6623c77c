import assert from "node:assert/strict"
import {setMaxListeners} from "node:events"
import {readFileSync} from "node:fs"
import {after, test} from "node:test"

import {FakePage} from "../support/fakes.js"
import {live} from "../support/lab.js"

// phoenix.js looks for its page when it is loaded.
const page = new FakePage()
page.install()
// Its sockets listen to it for ever.
setMaxListeners(0, page, page.document)
after(() => page.remove())
const [official, own] = await Promise.all([import("phoenix"), import("../src/broadwing.js")])

const SCENARIOS = {
  "a join, pushes with every kind of answer, a broadcast, and a leave": (lab) => {
    const socket = lab.connected({params: {locale: "en", nested: {a: [1, "ü"]}}, authToken: () => "secret"})
    const room = lab.joined(socket, undefined, () => ({since: 7}))
    for (const [status, response] of [["ok", {n: 1}], ["error", {reason: "bad"}], ["teapot", {}]]) {
      lab.follow(room.push("ask", {status}))
      lab.reply(status, response)
    }
    lab.follow(room.push("ask", {status: "none"}, 50))
    lab.pass(60)
    lab.reply("ok", {late: true})
    lab.receive("new_msg", {body: "hi"})
    lab.receive("new_msg", {body: "elsewhere"}, {topic: "room:other"})
    lab.receive("new_msg", {body: "of an earlier join"}, {joinRef: "999"})
    lab.follow(room.leave())
    lab.reply("ok", {}, "phx_leave")
    lab.pass(1000)
  },
  "pushes before the join is answered wait, in order": (lab) => {
    const socket = lab.connected()
    const room = lab.channel(socket)
    const join = lab.follow(room.join(), "join")
    lab.follow(room.push("first", {n: 1}))
    lab.follow(room.push("second", {n: 2}))
    lab.follow(room.push("gone", {n: 3}, 30))
    lab.pass(40)
    lab.reply("ok", {}, "phx_join")
    lab.reply("ok", {}, "first")
    lab.reply("error", {}, "second")
    lab.follow(join, "late")
  },
  "a join and pushes before the connection opens wait for it": (lab) => {
    const socket = lab.socket()
    const room = lab.channel(socket)
    lab.follow(room.join(), "join")
    lab.follow(room.push("first", {n: 1}))
    socket.connect()
    socket.connect()
    lab.pass(30)
    lab.conn.open()
    lab.reply("ok", {hello: 1}, "phx_join")
    lab.reply("ok", {}, "first")
  },
  "a refused join is tried again with back-off": (lab) => {
    const socket = lab.connected()
    lab.follow(lab.channel(socket).join(), "join")
    lab.reply("error", {reason: "unauthorized"})
    lab.pass(100)
    lab.reply("error", {reason: "unauthorized"})
    lab.pass(200)
    lab.reply("ok")
    lab.pass(1000)
  },
  "a join without an answer is left, and tried again": (lab) => {
    const socket = lab.connected()
    const room = lab.channel(socket)
    lab.follow(room.join(50), "join")
    lab.pass(60)
    lab.pass(100)
    lab.reply("ok", {}, "phx_join")
    room.push("after", {})
  },
  "phx_error leads to a rejoin, phx_close to none": (lab) => {
    const socket = lab.connected()
    const room = lab.joined(socket)
    lab.receive("phx_error", {}, {joinRef: room.joinRef()})
    lab.follow(room.push("kept", {}))
    lab.pass(100)
    lab.reply("ok", {}, "phx_join")
    lab.reply("ok", {}, "kept")
    lab.receive("phx_close", {}, {joinRef: room.joinRef()})
    lab.pass(1000)
    lab.see(room.state, socket.channels.length)
  },
  "a second channel of a topic takes the place of the first": (lab) => {
    const socket = lab.connected()
    lab.joined(socket)
    lab.joined(socket)
    lab.receive("new_msg", {body: "for the second"})
    lab.see(socket.channels.map(({state}) => state))
  },
  "a lost connection is made again, and its channels rejoin": (lab) => {
    const socket = lab.connected()
    const room = lab.joined(socket)
    lab.joined(socket, "room:other")
    for (const code of [1006, 1001, 1011, 1012]) {
      lab.conn.drop(code)
      lab.follow(room.push(`while away ${code}`, {}))
      lab.pass(20)
      lab.conn.open()
      for (const message of lab.conn.sentEvents("phx_join")) lab.conn.reply(message)
      lab.reply()
    }
  },
  "a server that refuses is asked again and again": (lab) => {
    const socket = lab.socket()
    socket.connect()
    for (let tries = 1; tries <= 4; tries += 1) {
      lab.conn.fail()
      lab.pass(20 * tries)
    }
    lab.conn.open()
    lab.conn.drop()
    lab.pass(20)
  },
  "a connection that fails with a joined channel": (lab) => {
    const socket = lab.connected()
    lab.joined(socket)
    lab.conn.fail("broken")
    lab.pass(20)
    lab.conn.open()
    lab.reply()
  },
  "heartbeats are sent while they are answered": (lab) => {
    lab.connected({heartbeatIntervalMs: 1000})
    for (let beats = 0; beats < 3; beats += 1) {
      lab.pass(1000)
      lab.reply()
    }
  },
  "disconnect, with and without code, and connect": (lab) => {
    const socket = lab.connected()
    lab.joined(socket)
    socket.disconnect(() => lab.see("disconnected", socket.connectionState()), 1000, "bye")
    lab.pass(2000)
    socket.disconnect(() => lab.see("disconnected", socket.connectionState()))
    socket.connect()
    lab.conn.open()
    lab.reply()
    socket.disconnect()
    lab.pass(2000)
    lab.see(socket.connectionState(), socket.isConnected(), socket.ping(() => {}))
  },
  "disconnect waits for what has not left yet": (lab) => {
    const socket = lab.connected()
    lab.conn.bufferedAmount = 10
    socket.disconnect(() => lab.see("disconnected"))
    lab.pass(200)
    lab.conn.bufferedAmount = 0
    lab.pass(2000)
  },
  "ping tells the time to the server and back": (lab) => {
    const socket = lab.connected()
    lab.see(socket.ping((rtt) => lab.see("rtt", rtt)))
    lab.pass(35)
    lab.reply()
  },
  "callbacks can be taken off, and onMessage changes payloads": (lab) => {
    const socket = lab.connected()
    const room = lab.joined(socket)
    const refs = [socket.onOpen(() => lab.see("never")), socket.onMessage(() => lab.see("never"))]
    socket.off(refs)
    const ref = room.on("new_msg", () => lab.see("never"))
    room.off("new_msg", ref)
    room.onMessage = (event, payload) => ({...payload, event})
    lab.receive("new_msg", {body: "hi"})
    room.off("new_msg")
    lab.receive("new_msg", {body: "hi"})
  },
  "codecs of the application's own": (lab) => {
    const socket = lab.connected({
      vsn: "1.0.0",
      binaryType: "blob",
      encode: (message, callback) => callback(JSON.stringify({event: message.event, payload: message.payload})),
      decode: (raw, callback) => callback({topic: "t", event: raw, payload: {}, ref: null, join_ref: null}),
    })
    socket.push({topic: "t", event: "hello", payload: {n: 1}, ref: "1"})
    lab.conn.onmessage({data: "raw"})
    lab.see(lab.conn.binaryType, lab.conn.timeout)
  },
  "binary pushes and replies": (lab) => {
    const socket = lab.connected()
    const room = lab.joined(socket)
    const payload = new Uint8Array([0, 255, 1]).buffer
    socket.push({topic: "room:lobby", event: "bytes", payload, ref: "R", join_ref: "J"})
    const text = (field) => [...new TextEncoder().encode(field)]
    const head = (kind, ...fields) => [kind, ...fields.map((field) => text(field).length), ...fields.flatMap(text)]
    const receive = (...bytes) => lab.conn.onmessage({data: Uint8Array.from(bytes).buffer})
    room.on("bytes", (data) => lab.see("bytes", [...new Uint8Array(data)]))
    receive(...head(0, room.joinRef(), "room:lobby", "bytes"), 1, 2)
    receive(...head(2, "room:lobby", "bytes"), 3, 255)
    const push = room.push("ask").receive("ok", (data) => lab.see("reply", [...new Uint8Array(data)]))
    receive(...head(1, room.joinRef(), push.ref, "room:lobby", "ok"), 4)
  },
  "a primary transport that fails is replaced by LongPoll": (lab) => {
    const socket = lab.socket({longPollFallbackMs: 500})
    socket.connect()
    lab.conn.fail()
    lab.pass(5)
    lab.see(socket.transport === lab.client.LongPoll, socket.getLongPollTransport() === lab.client.LongPoll)
    lab.see(socket.conn.pollEndpoint, socket.conn.timeout)
    lab.answer("GET", {status: 410, token: "T", messages: []})
    lab.pass(5)
  },
  "polling: a session with messages, batches and a token for authentication": (lab) => {
    const socket = lab.polling({authToken: "secret", longpollerTimeout: 5000})
    const room = lab.joinedByPolling(socket)
    lab.follow(room.push("one", {}))
    lab.follow(room.push("two", {}))
    lab.pass(5)
    socket.push({topic: "t", event: "three", payload: new Uint8Array([0, 255]).buffer, ref: "R", join_ref: "J"})
    room.push("four", {})
    lab.pass(5)
    lab.answer("POST", {status: 200})
    lab.pass(5)
    lab.answer("POST", {status: 200})
    lab.answer("GET", {status: 204, token: "T"})
    const messages = ["a", "b"].map((body) => JSON.stringify([null, null, "room:lobby", "new_msg", {body}]))
    lab.answer("GET", {status: 200, token: "T", messages})
    lab.pass(5)
    for (let n = 0; n < 150; n += 1) socket.push({topic: "t", event: "many", payload: n, ref: `number ${n}`})
    lab.pass(5)
    lab.answer("POST", {status: 200})
    lab.pass(5)
  },
  "polling: a session that is gone is followed by a new one, and the channels rejoin": (lab) => {
    const socket = lab.polling()
    lab.joinedByPolling(socket)
    lab.answer("GET", {status: 410, token: "U", messages: []})
    lab.pass(25)
    lab.answer("GET", {status: 410, token: "U", messages: []})
    lab.pass(5)
  },
  "polling: what cannot be posted is an error": (lab) => {
    const socket = lab.polling()
    const room = lab.joinedByPolling(socket)
    room.push("lost", {})
    lab.pass(5)
    lab.answer("POST", {status: 401})
    lab.pass(25)
  },
  "polling: the server's own failure is an error": (lab) => {
    const socket = lab.polling()
    lab.answer("GET", {status: 500})
    lab.pass(25)
    lab.see(socket.connectionState())
  },
  "polling: no network is an error": (lab) => {
    lab.polling()
    lab.answer("GET", null)
    lab.pass(25)
  },
  "polling: a poll that takes too long is an error": (lab) => {
    const socket = lab.polling({longpollerTimeout: 1000})
    lab.joinedByPolling(socket)
    lab.pass(1030)
  },
  "polling: who is forbidden is told so": (lab) => {
    const socket = lab.polling()
    lab.answer("GET", {status: 403})
    lab.pass(5)
    lab.see(socket.conn?.readyState)
  },
  "a primary transport that answers is kept, and its later failures lead to no other": (lab) => {
    const socket = lab.socket({longPollFallbackMs: 500})
    socket.connect()
    lab.conn.open()
    lab.pass(5)
    lab.reply()
    lab.pass(1000)
    lab.conn.drop()
    lab.pass(20)
    lab.see(socket.transport === lab.Transport)
  },
  "a remembered fallback is taken at once": (lab) => {
    const sessionStorage = {getItem: (key) => (key === "phx:fallback:LongPoll" ? "true" : null), setItem() {}}
    const socket = lab.socket({longPollFallbackMs: 500, sessionStorage})
    socket.connect()
    lab.see(socket.transport === lab.client.LongPoll)
  },
  "replaceTransport uses another from the next connect": (lab) => {
    const socket = lab.socket()
    socket.connect()
    socket.replaceTransport(class Other extends lab.Transport {})
    lab.pass(1000)
    lab.see("waits")
    socket.connect()
    lab.see(socket.conn.constructor.name)
  },
  "a hidden page does not reconnect before it is seen": (lab) => {
    const socket = lab.connected()
    lab.joined(socket)
    lab.page.hide()
    lab.conn.drop()
    lab.pass(5000)
    lab.see("seen again")
    lab.page.reveal()
    lab.conn.open()
    lab.reply()
  },
  "a page that goes into the cache disconnects, and connects when it comes back": (lab) => {
    const socket = lab.connected()
    lab.joined(socket)
    lab.page.dispatchEvent(new Event("pagehide"))
    lab.pass(1000)
    lab.see(socket.connectionState())
    lab.page.dispatchEvent(new Event("pageshow"))
    lab.conn.open()
    lab.reply()
  },
  "presence over a rejoin": (lab) => {
    const socket = lab.connected()
    const room = lab.channel(socket)
    const presence = new lab.client.Presence(room)
    presence.onJoin((key, current, joined) => lab.see("onJoin", key, current, joined))
    presence.onSync(() => lab.see("onSync", presence.list((key, {metas}) => [key, metas.length])))
    room.join()
    lab.reply()
    lab.receive("presence_diff", {joins: {b: {metas: [{phx_ref: "2"}]}}, leaves: {}})
    lab.receive("presence_state", {a: {metas: [{phx_ref: "1"}]}, 7: {metas: [{phx_ref: "3"}]}})
    lab.conn.drop()
    lab.pass(20)
    lab.conn.open()
    lab.reply()
    lab.receive("presence_state", {a: {metas: [{phx_ref: "1"}]}})
  },
  "misuse is refused with errors": (lab) => {
    const socket = lab.connected()
    const room = lab.channel(socket)
    const refused = (run) => {
      try {
        run()
        lab.see("accepted")
      } catch (error) {
        lab.see("refused", error.message.match(/^tried to (join multiple times|push 'early' to 'room:lobby' before joining)/)?.[0])
      }
    }
    refused(() => room.push("early", {}))
    room.join()
    refused(() => room.join())
    lab.see(socket.endPointURL(), socket.protocol(), socket.hasLogger(), socket.connectionState())
  },
}

for (const [name, scenario] of Object.entries(SCENARIOS)) {
  test(`like phoenix.js: ${name}`, () => {
    const theirs = live(official, page, scenario)
    assert.ok(theirs.length >= 1)
    assert.deepEqual(live(own, page, scenario), theirs)
  })
}

/** Numbers between 0 and 1 that a seed leads to (mulberry32). */
function chance(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** What a network, a server and an application may do in any order; each looks first whether it can. */
const STEPS = {
  open: ({lab}) => lab.conn.readyState === 0 && lab.conn.open(),
  drop: ({lab, pick}) => lab.conn.readyState === 1 && lab.conn.drop(pick([1001, 1006, 1011])),
  fail: ({lab}) => lab.conn.readyState < 2 && lab.conn.fail("broken"),
  join: ({lab, socket, rooms}) => {
    if (rooms.length === 3) return
    const room = lab.channel(socket, `room:${rooms.length}`)
    rooms.push(room)
    lab.follow(room.join(), `join ${room.topic}`)
  },
  push: ({lab, room, step}) => room && lab.follow(room.push(`event ${step}`, {step})),
  // That of a channel which the server does not know is a departure, below.
  leave: ({lab, room}) => ["joined", "joining"].includes(room?.state) && lab.follow(room.leave(), "leave"),
  answer: ({lab, pick}) => {
    const {readyState, sent} = lab.conn
    if (readyState === 1 && sent.length > 0) lab.conn.reply(pick(sent), pick(["ok", "ok", "ok", "error"]), {sent: sent.length})
  },
  message: ({lab, room, pick}) => {
    if (lab.conn.readyState !== 1 || !room) return
    // That a channel is closed while it joins is a departure, below.
    const events = ["new_msg", "phx_error", ...(room.isJoined() ? ["phx_close"] : [])]
    lab.receive(pick(events), {}, {topic: room.topic, joinRef: room.joinRef()})
  },
  wait: ({lab, pick}) => lab.pass(pick([10, 30, 60, 150, 400, 1000])),
}
const KINDS = Object.keys(STEPS)

/** A script of 25 steps, the same for both clients. */
function script(seed) {
  const random = chance(seed)
  const pick = (list) => list[Math.floor(random() * list.length)]
  return (lab) => {
    const socket = lab.socket({timeout: 500})
    const rooms = []
    socket.connect()
    for (let step = 1; step <= 25; step += 1) {
      // A network that never opens makes no stories.
      const kind = pick([...KINDS, "open", "answer", "answer", "wait"])
      lab.see("step", step, kind)
      STEPS[kind]({lab, socket, rooms, room: pick(rooms), step, pick})
    }
  }
}

test("like phoenix.js: 300 scripts made by chance", () => {
  const events = new Set()
  for (let seed = 1; seed <= 300; seed += 1) {
    const theirs = live(official, page, script(seed))
    assert.deepEqual(live(own, page, script(seed)), theirs, `script(${seed})`)
    for (const line of theirs) events.add(JSON.parse(line.replace(/^\d+ /, ""))[0])
  }
  // They go everywhere that they should.
  const expected = ["sent", "onOpen", "onClose", "onError", "new_msg", "channel onClose", "channel onError", "leave ok"]
  assert.deepEqual(expected.filter((event) => !events.has(event)), [])
})

/** Lines of one list that the other has not as many of, without their times. */
function besides(lines, others) {
  const bare = (line) => line.replace(/^\d+ /, "")
  const left = others.map(bare)
  return lines.map(bare).filter((line) => {
    const index = left.indexOf(line)
    if (index >= 0) left.splice(index, 1)
    return index < 0
  })
}

// What README.md lists, by the first words of its rows, with what each client alone does.
const DEPARTURES = {
  "reconnects after the server has closed with 1000": {
    scenario: (lab) => {
      lab.connected()
      lab.conn.drop(1000)
      lab.pass(100)
    },
    official: ['["transport closed"]', '["transport made","ws://example.com:4000/socket/websocket?vsn=2.0.0",null]'],
    own: [],
  },
  "closes a connection whose heartbeat is not answered, then tells the channels": {
    scenario: (lab) => {
      const socket = lab.connected({heartbeatIntervalMs: 1000})
      lab.joined(socket).onError(() => lab.see("in onError", socket.connectionState()))
      lab.pass(2300)
      lab.conn.open()
      lab.reply()
    },
    official: ['["in onError","closing"]'],
    own: ['["in onError","open"]'],
  },
  "binary payload: `ArrayBuffer`": {
    scenario: (lab) => {
      lab.connected().push({topic: "t", event: "e", payload: Uint8Array.of(65), ref: "R", join_ref: "J"})
    },
    official: ['["sent","ref 1","ref 2","t","e",{"0":65}]'],
    own: ['["sent","\\u0000\\u0001\\u0001\\u0001\\u0001JRteA"]'],
  },
  "falsy payloads become `{}`": {
    scenario: (lab) => {
      const room = lab.joined(lab.connected())
      for (const payload of [0, null, undefined]) room.push("falsy", payload)
    },
    official: ['["sent","ref 1","ref 2","room:lobby","falsy",{}]'],
    own: ['["sent","ref 1","ref 2","room:lobby","falsy",0]'],
  },
  "an `undefined` param reaches the URL": {
    scenario: (lab) => lab.connected({params: {token: undefined, a: 1}}),
    official: ['["transport made","ws://example.com:4000/socket/websocket?token=undefined&a=1&vsn=2.0.0",null]'],
    own: ['["transport made","ws://example.com:4000/socket/websocket?a=1&vsn=2.0.0",null]'],
  },
  "LongPoll drops what is not posted": {
    scenario: (lab) => {
      const socket = lab.polling()
      lab.joinedByPolling(socket).leave()
      socket.disconnect()
      lab.pass(2000)
    },
    official: [],
    own: [
      '["request","POST","http://example.com:4000/socket/longpoll","T",' +
        '{"Content-Type":"application/x-ndjson"},[["ref 1","ref 2","room:lobby","phx_leave",{}]]]',
    ],
  },
  "a channel that the server does not know is left with a `phx_leave`": {
    scenario: (lab) => {
      const socket = lab.connected()
      const room = lab.channel(socket)
      lab.follow(room.join(), "join")
      lab.reply("error", {reason: "unauthorized"})
      lab.follow(room.leave())
      lab.pass(1000)
    },
    official: ['["sent","ref 1","ref 2","room:lobby","phx_leave",{}]'],
    own: [],
  },
  "a channel that the server closes while it joins joins again": {
    scenario: (lab) => {
      const room = lab.channel(lab.connected())
      lab.follow(room.join(50), "join")
      lab.receive("phx_close", {}, {joinRef: room.joinRef()})
      lab.pass(160)
    },
    official: [
      '["sent","ref 1","ref 2","room:lobby","phx_leave",{}]',
      '["join timeout",{},"errored"]',
      '["sent","ref 3","ref 3","room:lobby","phx_join",{}]',
    ],
    own: [],
  },
  "a channel waiting to rejoin takes its topic back": {
    scenario: (lab) => {
      const socket = lab.connected()
      lab.follow(lab.channel(socket).join(), "first join")
      lab.reply("error")
      lab.joined(socket)
      lab.pass(200)
    },
    // 2 and 3 are the newer channel's join and its end, 4 is the older's join.
    official: [
      '["sent","ref 2","ref 3","room:lobby","phx_leave",{}]',
      '["sent","ref 4","ref 4","room:lobby","phx_join",{}]',
    ],
    own: [],
  },
  "presence works in diffs that wait from an earlier join": {
    scenario: (lab) => {
      const socket = lab.connected()
      const room = lab.channel(socket)
      const presence = new lab.client.Presence(room)
      presence.onSync(() => lab.see("onSync", presence.list((key) => key)))
      room.join()
      lab.reply()
      lab.receive("presence_diff", {joins: {gone: {metas: [{phx_ref: "1"}]}}, leaves: {}})
      lab.conn.drop()
      lab.pass(20)
      lab.conn.open()
      lab.reply()
      lab.receive("presence_state", {here: {metas: [{phx_ref: "2"}]}})
    },
    official: ['["onSync",["here","gone"]]'],
    own: ['["onSync",["here"]]'],
  },
  "`onJoin` and `onLeave` run while the state changes": {
    scenario: (lab) => {
      const presence = new lab.client.Presence(lab.joined(lab.connected()))
      presence.onJoin((key) => lab.see("onJoin", key, presence.list((_, {metas}) => metas.length)))
      lab.receive("presence_state", {a: {metas: [{phx_ref: "1"}]}})
    },
    official: ['["onJoin","a",[]]'],
    own: ['["onJoin","a",[1]]'],
  },
}

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")

for (const [row, {scenario, ...expected}] of Object.entries(DEPARTURES)) {
  test(`unlike phoenix.js, as README.md says: ${row}`, () => {
    const [theirs, ours] = [live(official, page, scenario), live(own, page, scenario)]
    assert.deepEqual({official: besides(theirs, ours), own: besides(ours, theirs)}, expected)
    assert.ok(readme.includes(`| ${row}`), "README.md has no such row")
  })
}
