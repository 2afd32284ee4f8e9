// What Kibana makes of a webhook's answer: whether the action is done, what an operator reads, and
// when the task is run again.

import { post } from "./connector.mjs";

/** Runs an action once and judges how it ended. `attempt` counts from 1. */
export async function execute(connector, body, attempt) {
  const { answer, error } = await post(connector, body).then(
    (answer) => ({ answer }),
    (error) => ({ error }),
  );
  const response = answer ?? error.response;
  return {
    attempt,
    ...judge(answer, error, attempt),
    http: response?.status ?? null,
    answer: response?.data ?? null,
    rendered: body,
    // What axios made of it.
    wire: (response ?? error).config?.data ?? null,
  };
}

function judge(answer, error, attempt) {
  if (answer) return { status: "ok", message: null, again: null };
  let message, retry;
  try {
    [message, retry] = explain(error);
  } catch {
    [message, retry] = ["an error occurred while running the action", true];
  }
  return { status: "error", message, again: again(retry, attempt) };
}

/** The text of the log and of the Test button, and what the connector says about a retry. */
function explain(error) {
  if (!error.response) {
    return [error.code ? `[${error.code}] ${error.message}` : error.message, undefined];
  }
  const { status, statusText, headers, data } = error.response;
  // Throws where the body is the literal `null`, as Kibana does.
  const { message } = data;
  const words = typeof message === "object" ? JSON.stringify(message) : message;
  const text = `[${status}] ${statusText}${words ? `: ${words}` : ""}`;
  if (status >= 500) return [text, true];
  if (status === 429) {
    const seconds = Number.parseInt(headers["retry-after"], 10);
    return [text, Number.isNaN(seconds) ? true : new Date(Date.now() + seconds * 1000)];
  }
  return [text, undefined];
}

/** From when to when the next attempt comes, in whole seconds from now; null when this was the last. */
function again(retry, attempt) {
  // The task manager takes "not said" for yes; a webhook connector never says no.
  if (attempt >= MAX_ATTEMPTS) return null;
  if (retry instanceof Date) {
    const seconds = Math.round((retry.getTime() - Date.now()) / 1000);
    return [seconds, seconds];
  }
  return attempt === 1 ? [30, 30] : [0, Math.min(3600, 300 * 2 ** (attempt - 2))];
}

/** `xpack.actions.run.maxAttempts`. */
const MAX_ATTEMPTS = 3;
