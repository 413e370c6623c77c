/**
 * Keeps who is on `presence:odd` of a real server, whose keys are the names of objects' members, and tells in JSON what
 * it saw: `node support/presence_story.js official|own websocket|longpoll URL`.
 */
import process from "node:process"
import {WebSocket} from "ws"

const TIMEOUT = 30_000

const [client, kind, url] = process.argv.slice(2)
const {Socket, LongPoll, Presence} = await import(client === "official" ? "phoenix" : "../src/broadwing.js")

const timer = setTimeout(() => {
  console.error("the story came to no end")
  process.exit(1)
}, TIMEOUT)

const members = Reflect.ownKeys(Object.prototype).join()
const socket = new Socket(url, {transport: kind === "websocket" ? WebSocket : LongPoll})
socket.connect()
const channel = socket.channel("presence:odd", {})
const presence = new Presence(channel)

const calls = []
presence.onJoin((key, current, {metas}) => calls.push(["join", key, current?.metas.length ?? null, metas]))
presence.onLeave((key, current, {metas}) => calls.push(["leave", key, current.metas.length, metas]))
let syncs = 0
const ended = new Promise((resolve) => {
  presence.onSync(() => {
    console.log(JSON.stringify({calls: calls.splice(0), list: presence.list((key, {metas}) => [key, metas])}))
    syncs += 1
    if (syncs === 1) channel.push("change", {})
    if (syncs === 2) resolve()
  })
})
channel.join()
await ended

console.log(JSON.stringify({clean: members === Reflect.ownKeys(Object.prototype).join() && {}.polluted === undefined}))
clearTimeout(timer)
socket.disconnect(() => process.exit(0))
