import assert from "node:assert/strict"
import {test} from "node:test"
import {fileURLToPath} from "node:url"
import vm from "node:vm"

import {buildSync} from "esbuild"

/** What Deno, workers and edge hosts have in common; no window, document, location, process, require or Buffer. */
const COMMON = {
  AbortController,
  Event,
  EventTarget,
  TextDecoder,
  TextEncoder,
  atob,
  btoa,
  clearTimeout,
  console,
  setTimeout,
}

/** The client as it runs where these globals are all there is besides the language itself. */
function load(globals) {
  const {outputFiles} = buildSync({
    entryPoints: [fileURLToPath(new URL("../src/broadwing.js", import.meta.url))],
    bundle: true,
    format: "iife",
    globalName: "broadwing",
    write: false,
  })
  const context = vm.createContext({...COMMON, ...globals})
  vm.runInContext(outputFiles[0].text, context)
  return vm.runInContext("broadwing", context)
}

/** A WebSocket to a server that says ok to everything. */
class Agreeable {
  readyState = 0

  constructor(url) {
    this.url = url
    setTimeout(() => {
      this.readyState = 1
      this.onopen({})
    })
  }

  send(text) {
    const [joinRef, ref, topic] = JSON.parse(text)
    const data = JSON.stringify([joinRef, ref, topic, "phx_reply", {status: "ok", response: {}}])
    setTimeout(() => this.onmessage({data}))
  }

  close() {
    this.readyState = 3
    this.onclose({code: 1000})
  }
}

/** Joins, pushes and disconnects. */
async function story(socket) {
  socket.connect()
  const channel = socket.channel("room:lobby", {})
  await new Promise((resolve) => channel.join().receive("ok", resolve))
  await new Promise((resolve) => channel.push("hello").receive("ok", resolve))
  await new Promise((resolve) => socket.disconnect(resolve))
}

test("a host with a WebSocket and without a page is enough", async () => {
  const {Socket} = load({WebSocket: Agreeable})
  const socket = new Socket("wss://example.com/socket")
  assert.equal(socket.transport, Agreeable)
  await story(socket)
})

test("a host with fetch alone polls", async () => {
  const lines = []
  const answer = (value) => ({text: async () => JSON.stringify(value)})
  const waiting = []
  const flush = () => waiting.length > 0 && lines.length > 0 && waiting.shift()({status: 200, messages: lines.splice(0)})
  const fetch = async (url, {method, headers, body, signal}) => {
    assert.match(url, /^https:\/\/example\.com\/socket\/longpoll\?vsn=2\.0\.0/)
    if (method === "POST") {
      for (const line of body.split("\n")) {
        const [joinRef, ref, topic] = JSON.parse(line)
        lines.push(JSON.stringify([joinRef, ref, topic, "phx_reply", {status: "ok", response: {}}]))
      }
      setTimeout(flush)
      return answer({status: 200})
    }
    if (!headers["X-Phoenix-Longpoll-Token"]) return answer({status: 410, token: "T", messages: []})
    return answer(await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("aborted")))
      waiting.push(resolve)
      flush()
    }))
  }
  const {Socket, LongPoll} = load({fetch})
  const socket = new Socket("wss://example.com/socket")
  assert.equal(socket.transport, LongPoll)
  await story(socket)
})

test("a window without addEventListener, as React Native has, is not listened to", async () => {
  const {Socket} = load({WebSocket: Agreeable, window: {}})
  await story(new Socket("wss://example.com/socket"))
})
