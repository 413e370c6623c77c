import {mock} from "node:test"

import {Socket} from "../src/broadwing.js"

/**
 * A transport class whose instances do what the test says, in place of a server. `last` is the newest instance.
 */
export function fakeTransport() {
  return class FakeTransport {
    static instances = []

    static get last() {
      return this.instances.at(-1)
    }

    readyState = 0
    bufferedAmount = 0
    /** What the client sent, still encoded. */
    raw = []
    /** Arguments of each call of close. */
    closeCalls = []
    /** False plays a dead network, where close is never confirmed. */
    confirmsClose = true
    onopen = null
    onerror = null
    onmessage = null
    onclose = null

    constructor(url, protocols) {
      this.url = url
      this.protocols = protocols
      this.constructor.instances.push(this)
    }

    /** What the client sent, decoded: [join_ref, ref, topic, event, payload]. */
    get sent() {
      return this.raw.map((data) => (typeof data === "string" ? JSON.parse(data) : data))
    }

    sentEvents(event) {
      return this.sent.filter((message) => message[3] === event)
    }

    send(data) {
      if (this.readyState !== 1) throw new Error(`send in readyState ${this.readyState}`)
      this.raw.push(data)
    }

    close(...args) {
      this.closeCalls.push(args)
      if (this.readyState === 3) return
      // As a browser does: "WebSocket is closed before the connection is established".
      if (this.readyState === 0 && this.confirmsClose) return this.fail("closed before the connection is established")
      this.readyState = 2
      if (this.confirmsClose) this.drop(args[0] ?? 1005)
    }

    open() {
      this.readyState = 1
      this.onopen({})
    }

    receive(...message) {
      this.onmessage({data: JSON.stringify(message)})
    }

    /** Answers a message of the client, the way the server does. */
    reply([joinRef, ref, topic], status = "ok", response = {}) {
      this.receive(joinRef, ref, topic, "phx_reply", {status, response})
    }

    drop(code = 1006) {
      this.readyState = 3
      this.onclose({code, reason: "", wasClean: code === 1000})
    }

    /** What a browser does when a connection cannot be made or breaks. */
    fail(error = "refused") {
      this.readyState = 3
      this.onerror(error)
      this.onclose({code: 1006, reason: "", wasClean: false})
    }
  }
}

/** A socket with a fake transport, which is `socket.transport`. */
export function fakeSocket(options = {}) {
  return new Socket("ws://example.com/socket", {transport: fakeTransport(), reconnectAfterMs: () => 20, ...options})
}

/** A fake socket that is connected, and its connection. */
export function connected(options) {
  const socket = fakeSocket(options)
  socket.connect()
  const conn = socket.conn
  conn.open()
  return {socket, conn}
}

/** A channel of a connected socket that has been let in. */
export function joined(socket, topic = "room:lobby", params = {}) {
  const channel = socket.channel(topic, params)
  channel.join()
  socket.conn.reply(socket.conn.sent.at(-1))
  return channel
}

/** Virtual time for setTimeout and Date. */
export function fakeTime() {
  mock.timers.enable({apis: ["setTimeout", "Date"]})
}

export function realTime() {
  mock.timers.reset()
}

/** Moves the time in small steps, so that timers set by timers come when they should. */
export function pass(ms, step = 5) {
  for (let left = ms; left > 0; left -= step) mock.timers.tick(Math.min(step, left))
}

/** A page as far as the client looks at one. */
export class FakePage extends EventTarget {
  constructor(protocol = "http:") {
    super()
    this.document = Object.assign(new EventTarget(), {visibilityState: "visible"})
    this.location = {protocol, host: "example.com:4000"}
  }

  install() {
    globalThis.window = this
    globalThis.document = this.document
    globalThis.location = this.location
  }

  remove() {
    delete globalThis.window
    delete globalThis.document
    delete globalThis.location
  }

  hide() {
    this.#show("hidden")
  }

  reveal() {
    this.#show("visible")
  }

  /** What a browser says to a page that it had frozen, as it shows it again; `visibilitychange` may be missing. */
  resume() {
    this.document.visibilityState = "visible"
    this.document.dispatchEvent(new Event("resume"))
  }

  #show(state) {
    this.document.visibilityState = state
    this.dispatchEvent(new Event("visibilitychange"))
  }
}
