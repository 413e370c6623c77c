// What only this client's types have; compiled without those of the browser and of Node.
import {Channel, LongPoll, Presence, Push, Serializer, Socket, Timer, reconnectAfterMs, rejoinAfterMs} from "broadwing"
import type {Message, PresenceEntry, PresenceState, SocketConnectOption, Transport, TransportClass} from "broadwing"

class Mine implements Transport {
  readyState = 0
  onopen = null
  onerror = null
  onmessage = null
  onclose = null
  constructor(readonly url: string, readonly protocols?: string[]) {}
  send(data: string | ArrayBuffer): void {
    void data
  }
  close(code?: number, reason?: string): void {
    void [code, reason]
  }
}

const transport: TransportClass = Mine
const options: SocketConnectOption = {transport, authToken: () => null, params: {nested: {a: [1]}}}
const socket = new Socket("wss://example.com/socket", options)
const fallback: typeof LongPoll = socket.getLongPollTransport()
const channel: Channel = socket.channel("room:lobby")
const push: Push = channel.push("bytes", new Uint8Array(2)).receive("teapot", (answer) => answer)
channel.onMessage = (_event, payload, _ref, joinRef) => [payload, joinRef]
const ref: number = channel.onClose(() => {})
socket.leaveOpenTopic("room:lobby")
const encoded: string = Serializer.encode({topic: "t", event: "e", payload: {}}, (text) => text)
const decoded: Message = Serializer.decode(encoded, (message: Message) => message)
const state: PresenceState = new Presence(channel).state
const entries: PresenceEntry[] = Presence.list(state)
const waits: number[] = [reconnectAfterMs(1), rejoinAfterMs(1)]
new Timer(() => {}, reconnectAfterMs).scheduleTimeout()
// @ts-expect-error: a state that there is not
channel.state = "open"
// @ts-expect-error: a misspelt option
new Socket("/socket", {longpollFallbackMs: 1})

export {decoded, entries, fallback, push, ref, waits}
