/** Requests to the server. Whoever shows the sign-in is told when one was refused for want of a key. */

let onUnauthorized = () => {};

/** Call a function whenever the server wants a key, or another one than the browser has. */
export function whenUnauthorized(handler: () => void): void {
  onUnauthorized = handler;
}

/** `fetch`, for requests to the server. */
export async function request(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(input, init);
  if (response.status === 401) onUnauthorized();
  return response;
}
