import {Presence as OfficialPresence} from "phoenix"

import {Presence} from "../src/broadwing.js"

export const implementations = {own: Presence, official: OfficialPresence}

/** JSON as values that deepEqual compares without looking at prototypes or at the order of keys. */
export function plain(value) {
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== "object") return value
  return new Map(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

/** Callbacks that write down their calls as the vectors have them, as they are at that moment. */
export function recorder() {
  const calls = []
  const write = (kind) => (...args) => calls.push(plain([kind, ...args.map((arg) => arg ?? null)]))
  return {calls, onJoin: write("join"), onLeave: write("leave"), onSync: write("sync")}
}

/** As much of a channel as a presence looks at. */
export class FakeChannel {
  ref = null
  bindings = []

  joinRef() {
    return this.ref
  }

  on(event, callback) {
    this.bindings.push({event, callback})
  }

  trigger(event, payload) {
    for (const binding of this.bindings) if (binding.event === event) binding.callback(payload)
  }
}

/** A presence of the given class, its channel, and what its callbacks are called with. */
export function presenceOf(PresenceClass, opts) {
  const channel = new FakeChannel()
  const presence = new PresenceClass(channel, opts)
  const {calls, onJoin, onLeave, onSync} = recorder()
  presence.onJoin(onJoin)
  presence.onLeave(onLeave)
  presence.onSync(onSync)
  return {channel, presence, calls}
}

/** What a client received of presence in a case of a recording, in either wire version. */
export function recorded({cases}, title, client) {
  const {steps} = cases.find((candidate) => candidate.title === title)
  return steps
    .filter(([direction, name, kind]) => direction === "<-" && name === client && kind === "text")
    .map(([, , , text]) => JSON.parse(text))
    .map((message) => (Array.isArray(message) ? {event: message[3], payload: message[4]} : message))
    .filter(({event}) => event.startsWith("presence_"))
}

/** The messages with their refs renamed, in the order in which they first arrive. */
export function renamed(messages, names) {
  const known = new Map()
  JSON.stringify(messages, (key, value) => {
    if (key === "phx_ref" && !known.has(value)) known.set(value, names[known.size])
    return value
  })
  if (known.size !== names.length) throw new Error(`${names.length} names for ${known.size} refs`)
  return JSON.parse(JSON.stringify(messages), (key, value) => (key.startsWith("phx_ref") ? known.get(value) : value))
}
