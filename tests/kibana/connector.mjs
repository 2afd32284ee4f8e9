// Calls a webhook as Kibana's connector does: a new axios instance, a new agent and a new connection
// for each call. A connector is written as `POST /api/actions/connector` takes it.

import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";

import axios, { AxiosHeaders } from "axios";
import axiosOld from "axios-old";

/** Posts a body; rejects with axios' error for what is not a 2xx. */
export function post({ config, secrets = {}, client = "axios", timeout = RESPONSE_TIMEOUT }, body) {
  const method = config.method ?? "post";
  return CLIENTS[client].create()(config.url, {
    method,
    headers: headers(config, secrets),
    ...(body && !BODILESS.includes(method) ? { data: body } : {}),
    httpAgent: new HttpAgent(),
    httpsAgent: new HttpsAgent(tls(config, secrets)),
    proxy: false,
    maxContentLength: MAX_RESPONSE_CONTENT_LENGTH,
    timeout,
    // Kibana looks here whether it may go there; a webhook that redirects loses its body.
    beforeRedirect: ({ href }) => {
      throw new Error(`redirected to ${href}`);
    },
  });
}

/** What a body arrives as under `Content-Type: application/json`. */
export function wired(body) {
  const headers = new AxiosHeaders({ "Content-Type": "application/json" });
  const { transformRequest } = axios.defaults;
  return transformRequest.reduce((data, transform) => transform.call({}, data, headers), body);
}

/** A configured Authorization goes over a user and password, a secret header over a configured one. */
function headers(config, secrets) {
  if (config.authType === "webhook-oauth2-client-credentials") {
    // What Kibana was given by the identity provider; secret headers are left out then.
    return { ...config.headers, Authorization: secrets.accessToken };
  }
  const { user, password } = secrets;
  const basic = config.hasAuth && (config.authType ?? BASIC) === BASIC && user !== undefined;
  const credentials = Buffer.from(`${user}:${password}`).toString("base64");
  return {
    ...(basic ? { Authorization: `Basic ${credentials}` } : {}),
    ...config.headers,
    ...secrets.secretHeaders,
  };
}

/** Files are kept as base64 of their bytes; a CA stands in for Node's own. */
function tls({ authType, certType, verificationMode = "full", ca }, secrets) {
  const file = (text) => Buffer.from(text, "base64");
  const options = { rejectUnauthorized: verificationMode !== "none" };
  if (verificationMode === "certificate") options.checkServerIdentity = () => undefined;
  if (ca) options.ca = file(ca);
  if (authType === "webhook-authentication-ssl") {
    if (certType === "ssl-pfx") {
      options.pfx = file(secrets.pfx);
    } else {
      options.cert = file(secrets.crt);
      options.key = file(secrets.key);
    }
    if (secrets.password) options.passphrase = secrets.password;
  }
  return options;
}

/** By the names that package.json gives them. */
const CLIENTS = { axios, "axios-old": axiosOld };
const BODILESS = ["get", "delete"];
const BASIC = "webhook-authentication-basic";
/** `xpack.actions.responseTimeout`, in milliseconds. */
const RESPONSE_TIMEOUT = 60_000;
/** `xpack.actions.maxResponseContentLength`, in bytes. */
const MAX_RESPONSE_CONTENT_LENGTH = 1024 * 1024;
