// What an application in TypeScript does with a client. Compiled twice under --strict: against phoenix with its types from
// DefinitelyTyped, and with "phoenix" replaced by "broadwing" and nothing else changed.
import {Channel, LongPoll, Presence, Push, Socket} from "phoenix"
import type {
  BinaryType,
  ChannelState,
  ConnectionState,
  MessageRef,
  PresenceOnJoinCallback,
  PresenceOnLeaveCallback,
  PresenceOpts,
  PushStatus,
  SocketConnectOption,
} from "phoenix"

interface JoinParams {
  token: string
}

interface User {
  metas: {online_at: string; phx_ref: string}[]
  user: {name: string}
}

interface Message {
  body: string
}

class InMemoryStorage {
  storage: Record<string, string> = {}
  getItem(key: string): string | null {
    return this.storage[key] ?? null
  }
  removeItem(key: string): void {
    delete this.storage[key]
  }
  setItem(key: string, value: string): void {
    this.storage[key] = value
  }
}

const binaryType: BinaryType = "arraybuffer"
const options: Partial<SocketConnectOption> = {
  authToken: "secret",
  binaryType,
  params: () => ({locale: "en"}),
  transport: WebSocket,
  timeout: 10_000,
  heartbeatIntervalMs: 30_000,
  longPollFallbackMs: 2_500,
  longpollerTimeout: 20_000,
  encode: (payload: object, callback: (encoded: any) => void | Promise<void>) => callback(JSON.stringify(payload)),
  decode: (payload: string, callback: (decoded: any) => void | Promise<void>) => callback(JSON.parse(payload)),
  logger: (kind: string, message: string, data: any) => console.log(kind, message, data),
  reconnectAfterMs: (tries: number) => [10, 50][tries - 1] ?? 5000,
  rejoinAfterMs: (tries: number) => [1000, 2000][tries - 1] || 10_000,
  vsn: "2.0.0",
  debug: true,
  sessionStorage: new InMemoryStorage(),
}
const params: JoinParams = {token: "t"}
const socket = new Socket("/socket", options)
new Socket("/socket", {params, transport: LongPoll})

const refs: MessageRef[] = [
  socket.onOpen(() => console.log("open")),
  socket.onOpen(async () => {}),
  socket.onClose((event: CloseEvent) => console.log(event.code)),
  socket.onError((error, transport, established) => {
    if (transport === WebSocket && established === 0) console.log(error)
  }),
  socket.onMessage((message: object) => console.log(message)),
]
socket.off(refs)
socket.connect()
socket.connect({deprecated: true})
socket.replaceTransport(LongPoll)
socket.replaceTransport(WebSocket)
const state: ConnectionState = socket.connectionState()
const facts: [string, string, boolean, boolean, MessageRef] = [
  socket.protocol(),
  socket.endPointURL(),
  socket.isConnected(),
  socket.hasLogger(),
  socket.makeRef(),
]
const pinged: boolean = socket.ping((latency: number) => console.log(latency))
socket.log("kind", "message", {})
socket.push({topic: "room:lobby", event: "raw", payload: {}, ref: socket.makeRef()})

const channel: Channel = socket.channel("room:lobby", params)
socket.channel("room:none")
socket.channel("room:closure", () => ({token: "t"}))
const channelState: ChannelState = channel.state
const topic: string = channel.topic
const status: PushStatus = "ok"
const join: Push = channel
  .join(5000)
  .receive(status, ({messages}: {messages: Message[]}) => console.log(messages))
  .receive("error", ({reason}) => console.log(reason))
  .receive("timeout", () => console.log("waiting"))
const ref: number = channel.on("new_msg", ({body}: Message) => console.log(body))
channel.on("async", async (payload) => console.log(payload))
channel.off("new_msg", ref)
channel.off("new_msg")
channel.onError((reason) => console.log(reason))
channel.onClose((payload, ref, joinRef) => console.log(payload, ref, joinRef))
channel.onMessage = (event: string, payload: any, ref: any) => (ref ? payload : {...payload, event})
channel.push("new_msg", {body: "hi"} satisfies Message, 1000).receive("ok", (reply) => console.log(reply))
channel.push("bytes", new ArrayBuffer(4))

const opts: PresenceOpts = {events: {state: "state", diff: "diff"}}
const presence = new Presence(channel, opts)
const onJoin: PresenceOnJoinCallback = (key, current, newPresence) => console.log(key, current, newPresence)
const onLeave: PresenceOnLeaveCallback = (key?: string, current?: User, left?: User) => console.log(key, current, left)
presence.onJoin(onJoin)
presence.onLeave(onLeave)
presence.onSync(async () => {})
const names: string[] = presence.list((id: string, {metas: [first], user}: User) => `${id} ${first?.online_at} ${user.name}`)
const users: User[] = presence.list<User>()
let known: Record<string, User> = {}
known = Presence.syncState(known, {}, onJoin, onLeave)
known = Presence.syncDiff(known, {joins: {}, leaves: {}}, onJoin, onLeave)
const ids: string[] = Presence.list(known, (id) => id)

channel.leave(1000).receive("ok", () => console.log("left"))
socket.remove(channel)
socket.disconnect(() => console.log("done"), 1000, "bye")

export default {state, facts, pinged, channelState, topic, join, names, users, ids, pending: presence.inPendingSyncState()}
