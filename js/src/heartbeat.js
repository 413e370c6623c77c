/**
 * Finds out whether the server is still there, and how far away it is.
 */
export class Heartbeat {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer = undefined
  /** @type {string|null} Ref of the heartbeat that has not been answered. */
  #pending = null
  /** @type {Map<any, {sentAt: number, callback: (rtt: number) => any}>} */
  #pings = new Map()

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {() => void} timedOut A heartbeat stayed unanswered for a whole interval.
   */
  constructor(socket, timedOut) {
    this.socket = socket
    this.timedOut = timedOut
  }

  /** Sends a heartbeat one interval from now. */
  start() {
    this.stop()
    this.#timer = setTimeout(() => {
      if (!this.socket.isConnected()) return
      this.#pending = this.socket.makeRef()
      this.#timer = setTimeout(() => this.timedOut(), this.socket.heartbeatIntervalMs)
      this.#send(this.#pending)
    }, this.socket.heartbeatIntervalMs)
  }

  stop() {
    clearTimeout(this.#timer)
    this.#pending = null
  }

  /** The connection is gone: answers to pings will not come. */
  reset() {
    this.stop()
    this.#pings.clear()
  }

  /** @param {(rtt: number) => any} callback */
  ping(callback) {
    const ref = this.socket.makeRef()
    this.#pings.set(ref, {sentAt: Date.now(), callback})
    this.#send(ref)
  }

  /** @param {any} ref Ref of any message from the server. */
  answered(ref) {
    if (ref && ref === this.#pending) this.start()
  }

  /** @param {any} ref Ref of any message from the server, once everybody else has heard of it. */
  pong(ref) {
    const ping = this.#pings.get(ref)
    if (!ping) return
    this.#pings.delete(ref)
    ping.callback(Date.now() - ping.sentAt)
  }

  /** @param {string} ref */
  #send(ref) {
    this.socket.push({topic: "phoenix", event: "heartbeat", payload: {}, ref, join_ref: null})
  }
}
