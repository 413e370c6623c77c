import assert from "node:assert/strict"
import {afterEach, beforeEach, describe, mock, test} from "node:test"

import {Presence} from "../src/broadwing.js"
import {connected, fakeTime, joined, realTime} from "../support/fakes.js"
import {implementations, plain, presenceOf, recorded, recorder, renamed} from "../support/presence.js"
import {load} from "../support/vectors.js"

const vectors = load("presence_sync.json")
const copy = (value) => JSON.parse(JSON.stringify(value))
const entry = (...refs) => ({metas: refs.map((phx_ref) => ({phx_ref}))})

// Heartbeats of sockets left open would keep the process for a minute.
beforeEach(fakeTime)
afterEach(realTime)

const CHOOSERS = {null: undefined, key_and_count: (key, {metas}) => [key, metas.length]}

/** Runs steps through a presence, and gives what it called and held after each. */
function live(PresenceClass, {events, steps}) {
  const {channel, presence, calls} = presenceOf(PresenceClass, events && {events})
  const told = []
  for (const step of steps) {
    if ("join" in step) {
      channel.ref = step.join
      continue
    }
    const kind = "state" in step ? "state" : "diff"
    channel.trigger(events?.[kind] ?? `presence_${kind}`, copy(step[kind]))
    told.push({calls: calls.splice(0), state: plain(presence.state)})
  }
  return told
}

const expectedOf = ({steps}) =>
  steps.filter((step) => !("join" in step)).map(({calls, expected}) => ({calls: plain(calls), state: plain(expected)}))

for (const [name, PresenceClass] of Object.entries(implementations)) {
  describe(`the vectors of presence hold for ${name === "own" ? "this client" : "phoenix.js"}`, () => { // checklist 289, 290, 292, 293
    for (const vector of vectors.sync_state) {
      test(`syncState: ${vector.name}`, () => {
        const {calls, onJoin, onLeave} = recorder()
        const state = PresenceClass.syncState(copy(vector.state), copy(vector.new_state), onJoin, onLeave)
        assert.deepEqual(plain(state), plain(vector.expected))
        assert.deepEqual(calls, plain(vector.calls))
      })
    }

    for (const vector of vectors.sync_diff) {
      test(`syncDiff: ${vector.name}`, () => {
        const {calls, onJoin, onLeave} = recorder()
        const state = PresenceClass.syncDiff(copy(vector.state), copy(vector.diff), onJoin, onLeave)
        assert.deepEqual(plain(state), plain(vector.expected))
        assert.deepEqual(calls, plain(vector.calls))
      })
    }

    for (const {name, state, chooser, expected} of vectors.list) {
      test(`list: ${name}`, () => {
        assert.deepEqual(plain(PresenceClass.list(copy(state), CHOOSERS[chooser])), plain(expected))
      })
    }

    for (const vector of vectors.conversations) {
      test(`conversation: ${vector.name}`, () => {
        const told = live(PresenceClass, vector)
        if (name === "official" && vector.departure) assert.notDeepEqual(told, expectedOf(vector))
        else assert.deepEqual(told, expectedOf(vector))
      })
    }

    for (const vector of vectors.recordings) {
      for (const file of vector.files) {
        test(`${file}: ${vector.name}`, () => {
          const messages = renamed(recorded(load(file), vector.case, vector.client), vector.refs)
          const {channel, presence, calls} = presenceOf(PresenceClass)
          channel.ref = "1"
          for (const {event, payload} of messages) channel.trigger(event, payload)
          assert.deepEqual(calls, plain(vector.calls))
          assert.deepEqual(plain(presence.state), plain(vector.expected))
        })
      }
    }
  })
}

test("every vector has a name of its own and a source", () => {
  for (const [list, entries] of Object.entries(vectors)) {
    if (list === "about") continue
    assert.equal(new Set(entries.map(({name}) => name)).size, entries.length, list)
    for (const {name, source} of entries) assert.ok(name && source, `${list}: ${name}`)
  }
})

test("nothing that is given is changed", () => { // checklist 289
  for (const {state, new_state} of vectors.sync_state) {
    // Without a prototype, as a state that was returned before.
    const args = [Object.assign(Object.create(null), state), copy(new_state)]
    const before = plain(args)
    Presence.syncState(...args)
    assert.deepEqual(plain(args), before)
  }
  for (const {state, diff} of vectors.sync_diff) {
    const args = [Object.assign(Object.create(null), state), copy(diff)]
    const before = plain(args)
    Presence.syncDiff(...args)
    assert.deepEqual(plain(args), before)
  }
})

test("an entry that a callback was given does not change later", () => {
  const {channel, presence} = presenceOf(Presence)
  const given = []
  presence.onJoin((key, current, joined) => given.push(joined))
  presence.onLeave((key, current) => given.push(current))
  channel.ref = "1"
  channel.trigger("presence_state", {u1: entry("A", "B", "C")})
  channel.trigger("presence_diff", {joins: {}, leaves: {u1: entry("A")}})
  channel.trigger("presence_diff", {joins: {u1: entry("D")}, leaves: {u1: entry("B")}})
  assert.deepEqual(given, [entry("A", "B", "C"), entry("B", "C"), entry("D"), entry("C", "D")])
})

test("what a callback does to the list of metas it was given does not reach the state", () => {
  const {channel, presence} = presenceOf(Presence)
  presence.onJoin((key, current, joined) => joined.metas.pop())
  channel.ref = "1"
  channel.trigger("presence_state", {u1: entry("A")})
  channel.trigger("presence_diff", {joins: {u2: entry("B")}, leaves: {}})
  assert.deepEqual(presence.list(), [entry("A"), entry("B")])
})

test("keys that look like numbers are listed first, and then the others as they came", () => {
  // ECMA-262, OrdinaryOwnPropertyKeys.
  const state = Presence.syncState({}, JSON.parse('{"b": {"metas": []}, "10": {"metas": []}, "a": {"metas": []}, "9": {"metas": []}}'))
  assert.deepEqual(Presence.list(state, (key) => key), ["9", "10", "b", "a"])
})

test("the callbacks find the new state in place", () => {
  const {channel, presence} = presenceOf(Presence)
  const lists = []
  presence.onJoin(() => lists.push(presence.list((key) => key)))
  presence.onLeave(() => lists.push(presence.list((key) => key)))
  channel.ref = "1"
  channel.trigger("presence_state", {u1: entry("A"), u2: entry("B")})
  channel.trigger("presence_diff", {joins: {u3: entry("C")}, leaves: {u1: entry("A")}})
  assert.deepEqual(lists, [["u1", "u2"], ["u1", "u2"], ["u2", "u3"], ["u2", "u3"]])
})

test("a callback that throws keeps nothing from the others, and its error is raised", (t) => {
  const later = t.mock.method(globalThis, "setTimeout", () => {}).mock
  const {channel, presence, calls} = presenceOf(Presence)
  presence.onJoin((key) => {
    throw new Error(`cannot show ${key}`)
  })
  channel.ref = "1"
  channel.trigger("presence_state", {u1: entry("A"), u2: entry("B")})
  channel.trigger("presence_diff", {joins: {u3: entry("C")}, leaves: {u2: entry("B")}})
  assert.deepEqual(calls, plain([["sync"], ["leave", "u2", entry(), entry("B")], ["sync"]]))
  assert.deepEqual(presence.list((key) => key), ["u1", "u3"])
  assert.equal(later.calls.length, 3)
  for (const [index, key] of ["u1", "u2", "u3"].entries()) {
    assert.throws(later.calls[index].arguments[0], {message: `cannot show ${key}`})
  }
})

test("one name of an event can be given, and the other keeps its default", () => { // checklist 293
  const {channel, presence} = presenceOf(Presence, {events: {state: "members"}})
  channel.ref = "1"
  channel.trigger("members", {u1: entry("A")})
  channel.trigger("presence_diff", {joins: {u2: entry("B")}, leaves: {}})
  assert.deepEqual(presence.list((key) => key), ["u1", "u2"])
})

test("without callbacks the list is kept all the same", () => {
  const {socket, conn} = connected()
  const channel = joined(socket)
  const presence = new Presence(channel)
  conn.receive(channel.joinRef(), null, "room:lobby", "presence_state", {u1: entry("A")})
  conn.receive(null, null, "room:lobby", "presence_diff", {joins: {u2: entry("B")}, leaves: {u1: entry("A")}})
  assert.deepEqual(presence.list(), [entry("B")])
})

test("on a socket, diffs wait after a rejoin until its state has come", () => { // checklist 293
  const {socket, conn} = connected()
  const channel = joined(socket)
  const presence = new Presence(channel)
  const keys = () => presence.list((key) => key)
  assert.equal(presence.inPendingSyncState(), true)
  conn.receive(channel.joinRef(), null, "room:lobby", "presence_state", {u1: entry("A")})
  assert.equal(presence.inPendingSyncState(), false)

  conn.drop()
  mock.timers.tick(20)
  const again = socket.conn
  assert.notEqual(again, conn)
  again.open()
  again.reply(again.sent.at(-1))
  assert.equal(presence.inPendingSyncState(), true)
  again.receive(null, null, "room:lobby", "presence_diff", {joins: {u2: entry("B")}, leaves: {}})
  assert.deepEqual(keys(), ["u1"])
  again.receive(channel.joinRef(), null, "room:lobby", "presence_state", {u3: entry("C")})
  assert.deepEqual(keys(), ["u3", "u2"])
})

const HOSTILE = `{"__proto__":{"metas":[{"phx_ref":"A","polluted":true}]},"constructor":{"metas":[{"phx_ref":"B"}]},
  "hasOwnProperty":{"metas":[{"phx_ref":"C"}]}}`

test("CVE-2026-56812: hostile keys from the wire neither pollute Object.prototype, nor throw, nor are lost", () => { // checklist 291
  const before = Reflect.ownKeys(Object.prototype)
  const {socket, conn} = connected()
  const channel = joined(socket)
  const presence = new Presence(channel)
  const {calls, onJoin, onLeave} = recorder()
  presence.onJoin(onJoin)
  presence.onLeave(onLeave)
  const receive = (joinRef, event, payload) =>
    conn.onmessage({data: `[${JSON.stringify(joinRef)},null,"room:lobby","${event}",${payload}]`})
  const keys = () => presence.list((key) => key)

  receive(channel.joinRef(), "presence_state", HOSTILE)
  assert.deepEqual(keys(), ["__proto__", "constructor", "hasOwnProperty"])
  assert.deepEqual(calls.map(([kind, key]) => [kind, key]), keys().map((key) => ["join", key]))
  assert.equal(Object.getPrototypeOf(presence.state), null)
  assert.deepEqual(presence.list()[0], {metas: [{phx_ref: "A", polluted: true}]})

  calls.length = 0
  receive(null, "presence_diff", `{"joins":{"toString":{"metas":[{"phx_ref":"D"}]}},"leaves":${HOSTILE}}`)
  assert.deepEqual(keys(), ["toString"])
  assert.deepEqual(calls.map(([kind, key]) => [kind, key]), [
    ["join", "toString"],
    ["leave", "__proto__"],
    ["leave", "constructor"],
    ["leave", "hasOwnProperty"],
  ])

  receive(channel.joinRef(), "presence_state", HOSTILE)
  receive(channel.joinRef(), "presence_state", "{}")
  assert.deepEqual(keys(), [])
  assert.deepEqual(Reflect.ownKeys(Object.prototype), before)
  assert.equal({}.metas, undefined)
  assert.equal({}.polluted, undefined)
})

test("CVE-2026-56812: a key that is not there is not found among an object's members", () => { // checklist 291
  const {calls, onJoin, onLeave} = recorder()
  const leaves = JSON.parse(HOSTILE)
  assert.deepEqual(plain(Presence.syncDiff({}, {joins: {}, leaves}, onJoin, onLeave)), new Map())
  assert.deepEqual(calls, [])
})
