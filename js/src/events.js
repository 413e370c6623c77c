/**
 * A close event of our own making: for LongPoll, and for connections whose end the browser never reported.
 *
 * @param {number} code
 * @param {string} reason
 * @param {boolean} wasClean
 * @returns {import("./types.js").CloseInfo}
 */
export function closeEvent(code, reason, wasClean) {
  const init = {code, reason, wasClean}
  return typeof CloseEvent === "function" ? new CloseEvent("close", init) : Object.assign(new Event("close"), init)
}

/**
 * Raises an error where nothing of ours is on the stack: the console and `window.onerror` see it, and the messages
 * queued behind the one that failed still go out.
 *
 * @param {unknown} error
 */
export function raiseLater(error) {
  setTimeout(() => {
    throw error
  }, 0)
}
