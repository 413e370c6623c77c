/** Whether the tab is in the background. Asked when it matters, as browsers have forgotten to say it. */
export function pageIsHidden() {
  return globalThis.document?.visibilityState === "hidden"
}

/**
 * Follows the life of the page a socket lives on. Outside of a page (Node, workers) nothing ever happens.
 *
 * @typedef {object} PageHooks
 * @property {() => void} hide The page goes into the back-forward cache, or away.
 * @property {() => void} show It came back out of the cache.
 * @property {() => void} seen The tab may have come to the front, or been woken from a freeze; told once or twice.
 *
 * @param {PageHooks} hooks
 * @returns {() => void} Stops following.
 */
export function followPage(hooks) {
  const page = typeof window === "undefined" ? undefined : window
  if (!page?.addEventListener) return () => {}
  const controller = new AbortController()
  const {signal} = controller
  page.addEventListener("pagehide", () => hooks.hide(), {signal})
  page.addEventListener("pageshow", () => hooks.show(), {signal})
  page.addEventListener("visibilitychange", () => hooks.seen(), {signal})
  // Chromium 149 and later do not always tell of the visibility of a page that was frozen: crbug.com/547062449.
  page.document?.addEventListener?.("resume", () => hooks.seen(), {signal})
  return () => controller.abort()
}
