/**
 * Follows the life of the page a socket lives on. Outside of a page (Node, workers) nothing ever happens.
 *
 * @typedef {object} PageHooks
 * @property {() => void} hide The page goes into the back-forward cache, or away.
 * @property {() => void} show It came back out of the cache.
 * @property {(hidden: boolean) => void} visibility The tab went to the background or to the front.
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
  page.addEventListener("visibilitychange", () => hooks.visibility(document.visibilityState === "hidden"), {signal})
  return () => controller.abort()
}
