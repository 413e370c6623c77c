/**
 * A timer whose delay depends on how often it has already fired.
 *
 * Used for reconnecting and rejoining: `scheduleTimeout` while one is pending replaces it,
 * so a burst of errors leads to one retry.
 */
export class Timer {
  /**
   * @param {() => void} callback
   * @param {(tries: number) => number} timerCalc Milliseconds to wait before try number `tries`, counted from 1.
   */
  constructor(callback, timerCalc) {
    this.callback = callback
    this.timerCalc = timerCalc
    this.tries = 0
    /** @type {any} What setTimeout gave, of a type that differs between browsers and Node. */
    this.timer = undefined
  }

  /** Whether a try is scheduled. */
  get pending() {
    return this.timer !== undefined
  }

  cancel() {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  /** Cancels the pending try and counts from the beginning again. */
  reset() {
    this.tries = 0
    this.cancel()
  }

  scheduleTimeout() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.tries += 1
      this.callback()
    }, this.timerCalc(this.tries + 1))
  }
}

const RECONNECT_MS = [50, 50, 100, 150, 200, 250, 500, 1000, 2000]
const REJOIN_MS = [1000, 2000, 5000]

/**
 * Default of `reconnectAfterMs`: 50–100 % of a growing delay.
 *
 * When a server restarts, all of its clients lose their connection in the same millisecond; the random half
 * keeps them from coming back in one. For the same reason no first retry comes before 25 ms.
 *
 * @param {number} tries Counted from 1.
 */
export function reconnectAfterMs(tries) {
  const longest = RECONNECT_MS[tries - 1] ?? 5000
  return Math.round(longest * (1 + Math.random()) / 2)
}

/**
 * Default of `rejoinAfterMs`.
 *
 * @param {number} tries Counted from 1.
 */
export function rejoinAfterMs(tries) {
  return REJOIN_MS[tries - 1] ?? 10_000
}
