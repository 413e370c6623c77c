/**
 * A short story that a client tells, line by line, while it lives it: against a Broadwing server, or a Phoenix one.
 *
 * `node support/story.js official|own websocket|longpoll URL` runs the story once; with `restart` in front of the URL it
 * tells how it comes back from a lost connection, for which somebody else ends the server and starts it again.
 */
import process from "node:process"
import {WebSocket} from "ws"

const TIMEOUT = 20_000

const [client, kind, ...rest] = process.argv.slice(2)
const url = rest.at(-1)
const {Socket, LongPoll} = await import(client === "official" ? "phoenix" : "../src/broadwing.js")
// Node's own is behind a flag in Node 20, and never says that a connection was refused.
const transport = kind === "websocket" ? WebSocket : LongPoll

const tell = (text) => console.log(`${kind} ${text}`)

/** The answer to a push or join. */
function answer(push) {
  return new Promise((resolve, reject) => {
    push
      .receive("ok", (response) => resolve({status: "ok", response}))
      .receive("error", (response) => resolve({status: "error", response}))
      .receive("timeout", () => reject(new Error(`no answer to ${push.event}`)))
  })
}

/** The next event of a channel. */
const next = (channel, event) =>
  new Promise((resolve) => {
    const ref = channel.on(event, (payload) => {
      channel.off(event, ref)
      resolve(payload)
    })
  })

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("")

async function story(socket) {
  const room = socket.channel("room:lobby", {})
  const joined = await answer(room.join())
  const {conn} = socket
  tell(`join -> ${JSON.stringify(joined.response)} over ${transport.name} ${conn.url ?? conn.pollEndpoint}`)

  const echo = await answer(room.push("echo", {hello: "wörld", n: [1, 2.5, null]}))
  tell(`echo -> ${JSON.stringify(echo.response)}`)

  const heard = next(room, "new_msg")
  room.push("new_msg", {body: `hi from ${kind}`})
  tell(`broadcast <- ${JSON.stringify(await heard)}`)

  // phoenix.js cannot hear these four bytes over long polling: they are not UTF-8.
  if (client === "own" || kind === "websocket") {
    const bytes = await answer(room.push("echo", new Uint8Array([0, 255, 1, 2]).buffer))
    tell(`binary echo -> ${hex(bytes.response)}`)
  }

  const refused = socket.channel("room:private", {})
  const refusal = await answer(refused.join())
  tell(`join room:private -> ${refusal.status} ${JSON.stringify(refusal.response)}`)
  refused.leave()

  const left = await answer(room.leave())
  tell(`leave -> ${JSON.stringify(left.response)}`)
}

async function restart(socket) {
  const room = socket.channel("room:lobby", {})
  let joins = 0
  let rejoined
  const again = new Promise((resolve) => (rejoined = resolve))
  const join = room.join().receive("ok", () => {
    joins += 1
    if (joins > 1) rejoined()
  })
  await answer(join)
  const lost = new Promise((resolve) => room.onError(resolve))
  tell("joined")

  await lost
  const echo = answer(room.push("echo", {queued: true}, TIMEOUT))
  tell("lost its connection and queued a push")

  await again
  tell("joined again")
  tell(`queued echo -> ${JSON.stringify((await echo).response)}`)
}

setTimeout(() => {
  console.error("the story came to no end")
  process.exit(1)
}, TIMEOUT).unref()

const socket = new Socket(url, {transport, params: {user_id: "js", token: "x"}})
socket.connect()
await (rest.includes("restart") ? restart(socket) : story(socket))
socket.disconnect(() => {
  tell("disconnected")
  process.exit(0)
})
