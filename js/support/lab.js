import {mock} from "node:test"

import {fakeTransport, pass} from "./fakes.js"

/**
 * A place in which a client lives a scripted scenario, and where everything it does can be seen: what it hands to its
 * transport, and which of the application's callbacks it runs with what, each with the time it happened.
 *
 * Refs are the client's own business, so they are renamed in the order in which they first appear.
 */
export class Lab {
  /** One line for each thing seen. */
  seen = []
  #refs = new Map()
  #start = Date.now()

  /**
   * @param {Record<string, any>} client The module under test.
   * @param {import("./fakes.js").FakePage} page
   */
  constructor(client, page) {
    this.client = client
    this.page = page
    const lab = this
    this.Xhr = class {
      static waiting = []
      #ended = false

      open(method, url) {
        this.method = method
        this.url = new URL(url)
        this.headers = {}
      }

      setRequestHeader(name, value) {
        this.headers[name] = value
      }

      send(body) {
        // Where the session's token travels is a departure of its own.
        const token = this.headers["X-Phoenix-Longpoll-Token"] ?? (this.url.searchParams.get("token") || null)
        this.url.searchParams.delete("token")
        delete this.headers["X-Phoenix-Longpoll-Token"]
        const lines = body?.split("\n").map((line) => (line.startsWith("[") ? lab.renamed(JSON.parse(line)) : line))
        lab.see("request", this.method, `${this.url.origin}${this.url.pathname}`, token, this.headers, lines)
        lab.Xhr.waiting.push(this)
        if (this.timeout) setTimeout(() => this.#end(() => this.ontimeout()), this.timeout)
      }

      abort() {
        this.#end(() => {})
      }

      answer(value) {
        this.#end(() => {
          this.readyState = 4
          this.status = value === null ? 0 : 200
          this.responseText = value === null ? "" : JSON.stringify(value)
          this.onreadystatechange?.()
          if (value === null) this.onerror?.()
          else this.onload?.()
        })
      }

      #end(how) {
        if (this.#ended) return
        this.#ended = true
        lab.Xhr.waiting = lab.Xhr.waiting.filter((other) => other !== this)
        how()
      }
    }
    page.XMLHttpRequest = globalThis.XMLHttpRequest = this.Xhr
    this.Transport = class FakeWebSocket extends fakeTransport() {
      constructor(url, protocols) {
        super(url, protocols)
        lab.see("transport made", url, protocols)
      }

      send(data) {
        super.send(data)
        if (typeof data !== "string") return lab.see("sent", Buffer.from(data).toString("latin1"))
        const message = JSON.parse(data)
        lab.see("sent", ...(Array.isArray(message) ? lab.renamed(message) : [message]))
      }

      close(...args) {
        lab.see("transport closed", ...args.filter((arg) => arg !== undefined && arg !== ""))
        if (this.readyState > 1) return
        // A browser tells of the end later, and of an error if the connection was only being made.
        const early = this.readyState === 0
        this.readyState = 2
        setTimeout(() => {
          if (this.readyState === 3) return
          if (early) this.fail("closed before the connection is established")
          else this.drop(args[0] ?? 1005)
        }, 5)
      }
    }
  }

  /** The newest transport. */
  get conn() {
    return this.Transport.last
  }

  see(...what) {
    // A channel may learn of the end of its connection when that is closed or a little later, when it is confirmed.
    const when = what[0] === "channel onError" ? "" : `${Date.now() - this.#start} `
    this.seen.push(when + JSON.stringify(what.map((value) => value ?? null)))
  }

  renamed([joinRef, ref, ...rest]) {
    return [this.#rename(joinRef), this.#rename(ref), ...rest]
  }

  #rename(ref) {
    if (typeof ref !== "string") return null
    if (!this.#refs.has(ref)) this.#refs.set(ref, `ref ${this.#refs.size + 1}`)
    return this.#refs.get(ref)
  }

  /** The server answers the oldest waiting request of the method. */
  answer(method, value) {
    const request = this.Xhr.waiting.find((waiting) => waiting.method === method)
    if (!request) throw new Error(`no ${method} waits for an answer`)
    request.answer(value)
  }

  /** A socket whose callbacks are all seen. */
  socket(options = {}) {
    const socket = new this.client.Socket("/socket", {
      transport: this.Transport,
      reconnectAfterMs: (tries) => 20 * tries,
      rejoinAfterMs: (tries) => 100 * tries,
      sessionStorage: {getItem: () => null, setItem: (key, value) => this.see("remembered", key, value)},
      ...options,
    })
    this.sockets = [...(this.sockets ?? []), socket]
    socket.onOpen(() => this.see("onOpen", socket.connectionState()))
    socket.onClose(({code, reason}) => this.see("onClose", code, reason ?? "", socket.connectionState()))
    socket.onError((error, transport, established) => this.see("onError", String(error), transport.name, established))
    socket.onMessage(({join_ref, ref, topic, event, payload}) => {
      this.see("onMessage", ...this.renamed([join_ref, ref, topic, event, payload]))
    })
    return socket
  }

  /** A socket that is connected. */
  connected(options) {
    const socket = this.socket(options)
    socket.connect()
    this.conn.open()
    return socket
  }

  /** A channel of the socket whose callbacks are all seen. */
  channel(socket, topic = "room:lobby", params = {}) {
    const channel = socket.channel(topic, params)
    channel.on("new_msg", (payload) => this.see("new_msg", topic, payload, channel.state))
    channel.onError((reason) => this.see("channel onError", topic, reason, channel.state))
    channel.onClose((payload) => this.see("channel onClose", topic, payload, channel.state))
    return channel
  }

  /** The channel, joined. */
  joined(socket, topic, params) {
    const channel = this.channel(socket, topic, params)
    this.follow(channel.join(), "join")
    this.reply()
    return channel
  }

  /** A socket that has sent its first poll. */
  polling(options) {
    const socket = this.socket({transport: this.client.LongPoll, ...options})
    socket.connect()
    this.pass(5)
    return socket
  }

  /** Answers the first poll, and a join in the next. */
  joinedByPolling(socket) {
    this.answer("GET", {status: 410, token: "T", messages: []})
    const channel = this.channel(socket)
    const join = this.follow(channel.join(), "join")
    this.pass(5)
    this.answer("POST", {status: 200})
    const answer = [join.ref, join.ref, channel.topic, "phx_reply", {status: "ok", response: {}}]
    this.answer("GET", {status: 200, token: "T", messages: [JSON.stringify(answer)]})
    this.pass(5)
    return channel
  }

  /** Sees the answers to a push. */
  follow(push, name = push.event) {
    for (const status of ["ok", "error", "timeout", "teapot"]) {
      push.receive(status, (response) => this.see(`${name} ${status}`, response, push.channel.state))
    }
    return push
  }

  /** The server answers the newest message of the event, or the newest at all. */
  reply(status = "ok", response = {}, event = undefined) {
    const sent = event === undefined ? this.conn.sent : this.conn.sentEvents(event)
    this.conn.reply(sent.at(-1), status, response)
  }

  /** The server pushes. */
  receive(event, payload, {topic = "room:lobby", joinRef = null} = {}) {
    this.conn.receive(joinRef, null, topic, event, payload)
  }

  pass(ms) {
    pass(ms)
  }
}

/** What is seen of a client that lives a scenario, in virtual time. */
export function live(client, page, scenario) {
  mock.timers.enable({apis: ["setTimeout", "Date"]})
  const lab = new Lab(client, page)
  try {
    page.reveal()
    scenario(lab)
    const {seen} = lab
    lab.seen = []
    for (const socket of lab.sockets ?? []) socket.disconnect()
    lab.pass(2000)
    return seen
  } finally {
    delete page.XMLHttpRequest
    delete globalThis.XMLHttpRequest
    mock.timers.reset()
  }
}
