/**
 * Adds parameters to a URL's query, nested ones as `a[b]=1`, the way the server reads them back.
 *
 * Null and undefined are left out: `{token: undefined}` must not reach the server as the text "undefined".
 *
 * @param {string} url
 * @param {Record<string, any>} params
 */
export function appendParams(url, params) {
  const query = pairs(params, "").join("&")
  if (query === "") return url
  return url + (url.includes("?") ? "&" : "?") + query
}

/**
 * @param {Record<string, any>} params
 * @param {string} parent
 * @returns {string[]}
 */
function pairs(params, parent) {
  return Object.entries(params).flatMap(([name, value]) => {
    const key = parent === "" ? name : `${parent}[${name}]`
    if (value === null || value === undefined) return []
    if (typeof value === "object") return pairs(value, key)
    return [`${encodeURIComponent(key)}=${encodeURIComponent(value)}`]
  })
}

/**
 * Options may be given as a value or as a function that is asked each time.
 *
 * @template T
 * @param {T | (() => T)} value
 * @returns {() => T}
 */
export function closure(value) {
  return typeof value === "function" ? /** @type {() => T} */ (value) : () => value
}
