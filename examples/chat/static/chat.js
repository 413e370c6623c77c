// The chat's side of the conversation: connect, join, push, and hear what others push. What it looks like is in view.js.
import {LongPoll, Presence, Socket, reconnectAfterMs} from "/broadwing/broadwing.js"
import * as view from "./view.js"

const HOUR = 60 * 60 * 1000
const TYPING_EVERY = 2000

// ?room=attic asks for another room, which the server refuses; ?transport=longpoll does without WebSockets.
const query = new URLSearchParams(location.search)
const room = query.get("room") ?? "lobby"

let me = ""
let token = ""
let loggedInAt = 0
let wasHere = false
let typedAt = 0

const socket = new Socket("/socket", {
  // Asked at every connect, so that a new token is used as soon as there is one. It travels beside the address, which
  // logs and browsers write down.
  authToken: () => token,
  transport: query.get("transport") === "longpoll" ? LongPoll : undefined,
  // Some networks swallow WebSockets; after this long without one the client polls.
  longPollFallbackMs: 2500,
  reconnectAfterMs: (tries) => {
    const wait = reconnectAfterMs(tries)
    view.showRetry(wait)
    return wait
  },
})

const channel = socket.channel(`room:${room}`, () => ({notices: view.wantsNotices(), again: wasHere}))

// Made before the join, so that it misses nothing. A user is one entry however many tabs he has open.
const presence = new Presence(channel)
presence.onSync(() => view.showPresent(presence.list((user, {metas}) => ({user, tabs: metas.length})), me))

channel.on("new_msg", (message) => view.showMessage(message, me))
channel.on("user_joined", ({user}) => view.showJoined(user))
channel.on("typing", ({user}) => view.showTyping(user))
channel.onError(() => view.showState("offline"))

// After a lost connection the client connects and joins again by itself, and this runs again.
channel.joinPush.receive("ok", ({messages}) => {
  // What was said before, or while this page was away; what it has shown already it knows again.
  view.showMessages(messages, me, {isNews: wasHere})
  wasHere = true
  // WebSockets get through here: when one fails from now on, it is the server that is away.
  if (socket.transport !== LongPoll) socket.longPollFallbackMs = 0
  view.showState("live", socket.transport === LongPoll ? "over long polling" : "")
})
channel.joinPush.receive("error", ({reason}) => {
  channel.leave()
  socket.disconnect()
  view.showRefused(room, reason)
})

// A page that stays open for weeks outlives its token; the next attempt to connect has a new one.
socket.onError(() => {
  if (Date.now() - loggedInAt > HOUR) logIn(me).catch(() => {})
})

/**
 * Pushes until the server has answered. While there is no connection the channel keeps the message and sends it after
 * it has joined again. A message whose answer got lost goes out twice under one id, and the server knows the id again.
 */
function push(message) {
  channel
    .push("new_msg", message)
    .receive("ok", () => view.showDelivered(me, message.id))
    .receive("error", (fault) => view.showFault(me, message.id, fault))
    .receive("timeout", () => push(message))
}

view.onSend((body) => {
  const message = {id: newId(), body}
  typedAt = 0
  view.showMessage({...message, user: me, at: Date.now() / 1000}, me, {isSending: true})
  push(message)
})

view.onTyping(() => {
  if (!channel.canPush() || Date.now() - typedAt < TYPING_EVERY) return
  typedAt = Date.now()
  channel.push("typing")
})

view.onNotices((show) => {
  // While away there is no need to: the next join says it.
  if (channel.canPush()) channel.push("notices", {show})
})

view.onName(async (name) => {
  const isNew = await logIn(name)
  if (!isNew) return
  wasHere = false // the others have not met this name yet
  socket.disconnect(() => connect())
})

function connect() {
  view.showState("connecting")
  socket.connect()
  if (!channel.joinedOnce) channel.join()
}

/** Trades a name for a token; tells whether it is another name than before. */
async function logIn(name) {
  const answer = await fetch("/login", {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify({name}),
  })
  const login = await answer.json()
  if (!answer.ok) throw new Error(login.message)
  const isNew = login.name !== me
  me = login.name
  token = login.token
  loggedInAt = Date.now()
  view.rememberName(me)
  return isNew
}

/** crypto.randomUUID is there on https and localhost only. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("")
}

view.showRoom(room)
const name = view.rememberedName()
if (name) {
  logIn(name).then(connect, () => view.askName(name))
} else {
  view.askName("")
}
