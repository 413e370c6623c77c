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
 */
export {Channel} from "./channel.js"
export {LongPoll} from "./longpoll.js"
export {Presence} from "./presence.js"
export {Push} from "./push.js"
export {Serializer} from "./serializer.js"
export {Socket} from "./socket.js"
export {Timer, reconnectAfterMs, rejoinAfterMs} from "./timer.js"
