/** Quotes a text for a POSIX shell: between single quotes, where only a single quote means anything. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * Writes a request as a curl command.
 *
 * @param {{ method: string, url: string, headers: [string, string][], form?: [string, string][] }} request
 */
export function asCurl({ method, url, headers, form }) {
  const parts = [`curl -i ${quoted(url)}`];
  // curl posts by itself as soon as there is a form, and says so in Content-Type.
  if (method !== "GET" && !form) parts.push(`-X ${method}`);
  for (const [name, value] of headers) {
    if (!form || name.toLowerCase() !== "content-type") parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  for (const [name, value] of form ?? []) parts.push(`--data-urlencode ${quoted(`${name}=${value}`)}`);
  return parts.join(" \\\n  ");
}
