/**
 * One JSON request over XMLHttpRequest, or over fetch where that is missing (Node, workers).
 *
 * XMLHttpRequest comes first because a page that hides or navigates away aborts it without an error in the console.
 *
 * @typedef {object} RequestOptions
 * @property {"GET"|"POST"} method
 * @property {string} url
 * @property {Record<string, string>} headers
 * @property {string} [body]
 * @property {number} [timeout] Milliseconds; 0 waits for ever.
 *
 * @param {RequestOptions} options
 * @param {(response: any) => void} done Gets the parsed body, or null when nothing came or it was not JSON.
 * @param {() => void} timedOut
 * @returns {() => void} Aborts the request; neither callback runs then.
 */
export function request(options, done, timedOut) {
  let pending = true
  /** @param {() => void} action */
  const settle = (action) => {
    if (!pending) return
    pending = false
    clearTimeout(timer)
    action()
  }
  const start = typeof XMLHttpRequest === "function" ? overXhr : overFetch
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer
  const abort = start(options, (text) => settle(() => done(parse(text))))
  if (options.timeout) {
    timer = setTimeout(() => settle(() => {
      abort()
      timedOut()
    }), options.timeout)
  }
  return () => settle(abort)
}

/**
 * @param {RequestOptions} options
 * @param {(text: string) => void} received
 */
function overXhr({method, url, headers, body}, received) {
  const xhr = new XMLHttpRequest()
  xhr.open(method, url, true)
  for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value)
  xhr.onload = () => received(xhr.responseText)
  xhr.onerror = () => received("")
  xhr.send(body)
  return () => xhr.abort()
}

/**
 * @param {RequestOptions} options
 * @param {(text: string) => void} received
 */
function overFetch({method, url, headers, body}, received) {
  const controller = new AbortController()
  fetch(url, {method, headers, body, signal: controller.signal})
    .then((response) => response.text())
    .catch(() => "")
    .then(received)
  return () => controller.abort()
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
