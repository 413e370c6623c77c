/**
 * Browser client of Broadwing, for every server that speaks Phoenix Channels.
 *
 * @example
 * import {Socket} from "broadwing"
 *
 * const socket = new Socket("/socket", {params: {token: userToken}})
 * socket.connect()
 *
 * const channel = socket.channel("room:lobby", {})
 * channel.on("new_msg", ({body}) => console.log(body))
 * channel.join()
 *   .receive("ok", () => channel.push("new_msg", {body: "hi"}))
 *   .receive("error", ({reason}) => console.log("not allowed in:", reason))
 *
 * The types have the names of the DefinitelyTyped package for phoenix.js, so that they can be imported from here as well:
 *
 * @typedef {import("./types.js").SocketOptions} SocketConnectOption
 * @typedef {import("./types.js").ChannelState} ChannelState
 * @typedef {import("./types.js").ConnectionState} ConnectionState
 * @typedef {"arraybuffer"|"blob"} BinaryType
 * @typedef {string} MessageRef What onOpen, onClose, onError, onMessage and makeRef give.
 * @typedef {"ok"|"error"|"timeout"} PushStatus
 * @typedef {import("./presence.js").OnJoin} PresenceOnJoinCallback
 * @typedef {import("./presence.js").OnLeave} PresenceOnLeaveCallback
 * @typedef {{events?: {state?: string, diff?: string}}} PresenceOpts
 *
 * And these are our own:
 *
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("./types.js").Transport} Transport
 * @typedef {import("./types.js").TransportClass} TransportClass
 * @typedef {import("./types.js").Encode} Encode
 * @typedef {import("./types.js").Decode} Decode
 * @typedef {import("./presence.js").PresenceMeta} PresenceMeta
 * @typedef {import("./presence.js").PresenceEntry} PresenceEntry
 * @typedef {import("./presence.js").PresenceState} PresenceState
 * @typedef {import("./presence.js").PresenceDiff} PresenceDiff
 */
export {Channel} from "./channel.js"
export {LongPoll} from "./longpoll.js"
export {Presence} from "./presence.js"
export {Push} from "./push.js"
export {Serializer} from "./serializer.js"
export {Socket} from "./socket.js"
export {Timer, reconnectAfterMs, rejoinAfterMs} from "./timer.js"
