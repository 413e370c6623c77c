import {LongPoll} from "./longpoll.js"

/** Fixed by hand: a minifier renames the class, and phoenix.js reads the same memory. */
const NAME = "LongPoll"

/**
 * Replaces a primary transport that does not get through by LongPoll.
 *
 * Some proxies let a WebSocket open and then swallow what it carries, so an open one has to answer a ping as well.
 * A browser session in which the primary never answered remembers it and goes straight to LongPoll on the next page.
 */
export class Fallback {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer = undefined
  /** @type {string[]} */
  #refs = []
  #primaryWasHealthy = false

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {number} afterMs How long the primary may take to open, and again to answer the ping.
   * @param {import("./types.js").Memory|null} storage
   */
  constructor(socket, afterMs, storage) {
    this.socket = socket
    this.afterMs = afterMs
    this.storage = storage
  }

  /**
   * Watches one attempt with the primary transport.
   *
   * @param {() => void} connectPrimary
   */
  connect(connectPrimary) {
    this.#unwatch()
    if (this.#remembered()) return this.#fall("memorized")
    let opened = false
    this.#timer = setTimeout(() => this.#fall("timeout"), this.afterMs)
    this.#refs = [
      this.socket.onError((error) => {
        if (!opened) this.#fall(error)
      }),
      this.socket.onOpen(() => {
        opened = true
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#fall("timeout"), this.afterMs)
        this.socket.ping((rtt) => {
          this.socket.log("transport", `connected to the primary after ${rtt} ms`)
          this.#primaryWasHealthy = true
          this.cancel()
        })
      }),
    ]
    connectPrimary()
  }

  /** Stays with what is connected, for now. */
  cancel() {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** @param {any} reason */
  #fall(reason) {
    this.#unwatch()
    this.socket.log("transport", `falling back to ${NAME}`, reason)
    this.#refs = [
      this.socket.onOpen(() => {
        if (!this.#primaryWasHealthy) this.#remember()
      }),
    ]
    this.socket.replaceTransport(LongPoll)
    this.socket.connect()
  }

  #unwatch() {
    this.cancel()
    this.socket.off(this.#refs)
    this.#refs = []
  }

  #remembered() {
    try {
      return Boolean(this.storage?.getItem(`phx:fallback:${NAME}`))
    } catch {
      return false // a store may refuse to be read; then nothing is remembered
    }
  }

  #remember() {
    try {
      this.storage?.setItem(`phx:fallback:${NAME}`, "true")
    } catch {
      // Full or forbidden: the next page tries the primary again.
    }
  }
}
