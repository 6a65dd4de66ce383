// Reads redirects and says which of them a browser would not see as the registered URI, with
// nothing but what the server has to add behind it. The parser is WHATWG's, as in browsers.

import { text } from 'node:stream/consumers'

const isLoopback = ({ protocol, hostname }) =>
  protocol === 'http:' && ['127.0.0.1', '[::1]'].includes(hostname)

function fits(url, registered, added) {
  const own = new URL(registered)
  const same = (name) => url[name] === own[name]
  const place = ['protocol', 'username', 'password', 'hostname', 'pathname', 'hash']
  if (!place.every(same) || !(same('port') || isLoopback(own))) return false
  // RFC 6749 §3.1.2: the registered query stays.
  const separator = own.search ? '&' : '?'
  if (!url.search.startsWith(own.search + separator)) return false
  const more = [...new URLSearchParams(url.search.slice(own.search.length + 1))]
  const names = ['error', 'error_description', 'state', 'iss']
  return (
    more.length === names.length &&
    more.every(([name, value], at) => name === names[at] && value === (added[name] ?? value))
  )
}

function isGood({ registered, location, added }) {
  const url = URL.parse ? URL.parse(location) : new URL(location)
  return url !== null && registered.some((uri) => fits(url, uri, added))
}

const redirects = JSON.parse(await text(process.stdin))
console.log(JSON.stringify(redirects.filter((redirect) => !isGood(redirect))))
