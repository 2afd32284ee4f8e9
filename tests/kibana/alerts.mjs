// The variables that Kibana's rules offer to an action's template: one set for each action that a run
// of the rule schedules.

import { createHash } from "node:crypto";

/** The sets of variables of one run of a rule. */
export function variables({ rule, ...run }) {
  const make = RULES[rule];
  if (!make) throw new Error(`no rule is called ${rule}`);
  return make(run);
}

const RULES = { threshold, query, esQuery, indexThreshold, customThreshold };

/**
 * A Security threshold rule grouped by `source.ip`, or by something else: then no alert has one.
 * "For each alert" schedules an action an alert, "Summary of alerts" one for all of them. `of` is a rule
 * other than that of the examples.
 */
function threshold({ addresses, counts = COUNTS, mode = "alert", grouped = true, bytes = 0, of = {} }) {
  const rule = { ...RULE, ...of };
  const alerts = addresses.map((address, index) => {
    const term = grouped
      ? { field: "source.ip", value: address }
      : { field: "host.name", value: "web-01" };
    const count = counts[index] ?? 5;
    return document(rule, address, index, bytes, {
      signal: { threshold_result: { from: FROM, count, terms: [term] } },
      alert: { threshold_result: { cardinality: [], count, from: FROM, terms: [term] } },
      fields: grouped ? { source: { ip: address } } : {},
    });
  });
  return securityActions(rule, alerts, mode);
}

/**
 * A Security query rule: one alert with all fields of its event, several sources in one of them, and
 * in others addresses that are no attacker's.
 */
function query({ addresses, mode = "alert", bytes = 0 }) {
  const others = { ip: ["192.0.2.201", "192.0.2.202"] };
  const fields = {
    source: { ip: addresses },
    destination: others,
    host: { ...others, name: "web-01" },
    related: { ip: [...addresses, ...others.ip] },
    message: "Failed password for root from 192.0.2.203 port 29160 ssh2",
  };
  const alerts = [document(RULE, "query", 0, bytes, { signal: {}, alert: {}, fields })];
  return securityActions(RULE, alerts, mode);
}

function securityActions(rule, alerts, mode) {
  const { url, ...params } = rule;
  const shared = {
    date: "2026-01-14T10:32:06.231Z",
    kibanaBaseUrl: "https://kibana.example.com",
    spaceId: "default",
    alertId: rule.id,
    alertName: rule.name,
    tags: ["ssh"],
    params,
    rule: { id: rule.id, name: rule.name, type: "siem.thresholdRule", tags: ["ssh"], url, params },
  };
  const action = (id, chosen, extra) => ({
    ...shared,
    ...extra,
    alertInstanceId: id,
    alert: { id, uuid: id, actionGroup: "default", actionGroupName: "Default", flapping: false },
    context: { rule, results_link: url, alerts: chosen },
    state: { signals_count: chosen.length },
  });
  if (mode === "alert") {
    return alerts.map((alert) => action(alert._id, [alert], {}));
  }
  const group = (data) => ({ count: data.length, data });
  const groups = { new: group(alerts), ongoing: group([]), recovered: group([]), all: group(alerts) };
  // In a summary the alert's id is the rule's.
  return [action(rule.id, alerts, { alerts: groups })];
}

/** An alert document with the 7.x names beside today's; `bytes` of parameters make it as large as real ones. */
function document(rule, key, index, bytes, { signal, alert, fields }) {
  const id = IDS[index] ?? createHash("sha1").update(key).digest("hex");
  const parameters = bytes > 0 ? { parameters: { note: "x".repeat(bytes / 2) } } : {};
  const reason = `event created high alert ${rule.name}.`;
  return {
    _id: id,
    _index: ".internal.alerts-security.alerts-default-000001",
    signal: {
      ancestors: [{ id: "x", type: "event", index: "filebeat-*", depth: 0 }],
      depth: 1,
      original_time: "2026-01-14T10:31:58.000Z",
      reason,
      rule: { id: rule.id, name: rule.name, severity: rule.severity, risk_score: rule.risk_score, ...parameters },
      status: "open",
      ...signal,
    },
    kibana: {
      alert: {
        uuid: id,
        status: "active",
        workflow_status: "open",
        depth: 1,
        severity: rule.severity,
        risk_score: rule.risk_score,
        reason,
        original_time: "2026-01-14T10:31:58.000Z",
        rule: {
          uuid: rule.id,
          name: rule.name,
          rule_id: rule.rule_id,
          type: "threshold",
          category: "Threshold Rule",
          execution: { uuid: "1f2e3d4c-0000-4000-8000-aabbccddeeff" },
          ...parameters,
        },
        ...alert,
        url: `https://kibana.example.com/app/security/alerts/redirect/${id}`,
      },
      space_ids: ["default"],
      version: "8.17.0",
    },
    "@timestamp": "2026-01-14T10:32:04.512Z",
    ...fields,
    event: { kind: "signal" },
  };
}

/** A stack rule of type Elasticsearch query: whole documents as hits. */
function esQuery({ addresses, recovered = false }) {
  const hits = addresses.map((ip, index) => ({
    _index: "filebeat-8.17.0",
    _id: String(index),
    _score: 1,
    _source: { "@timestamp": FROM, source: { ip }, host: { ip: ["192.0.2.201"] } },
  }));
  const context = {
    title: "rule 'SSH' matched query",
    message: "Document count is 17 in the last 5m",
    date: FROM,
    value: hits.length,
    hits,
    conditions: "Number of matching documents is greater than 5",
    link: "https://kibana.example.com/app/discover",
  };
  return [stackAction("query matched", recovered, context)];
}

/** A stack rule of type index threshold, grouped over top 5 `source.ip`: the group is the address. */
function indexThreshold({ addresses, recovered = false }) {
  return addresses.map((group) =>
    stackAction("threshold met", recovered, {
      group,
      value: 17,
      date: FROM,
      conditions: "count is greater than 5",
      title: `alert SSH group ${group} met threshold`,
      message: `alert 'SSH' is active for group '${group}'`,
    }),
  );
}

/** An observability rule of type custom threshold, grouped by `source.ip`. */
function customThreshold({ addresses, recovered = false }) {
  return addresses.map((ip) =>
    stackAction("custom_threshold.fired", recovered, {
      group: [{ field: "source.ip", value: ip }],
      grouping: { source: { ip } },
      reason: `Document count is 17, above the threshold of 5 for ${ip}`,
    }),
  );
}

/** These rules also schedule an action for the end of an alert, with the same fields. */
function stackAction(group, recovered, context) {
  const actionGroup = recovered ? "recovered" : group;
  return {
    date: "2026-01-14T10:32:06.231Z",
    spaceId: "default",
    rule: { id: RULE.id, name: RULE.name },
    alert: { id: String(context.group ?? group), uuid: IDS[0], actionGroup, flapping: false },
    context,
  };
}

/** The rule of all examples; its name wants escaping. */
const RULE = {
  id: "6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11",
  rule_id: "ssh-bruteforce-block",
  name: 'SSH brute force "block"',
  severity: "high",
  risk_score: 73,
  threshold: { field: ["source.ip"], value: 5, cardinality: [] },
  url: "https://kibana.example.com/app/security/rules/id/6f1c3b1e-6a0e-4f6c-9a39-3c0f7f4d2a11",
};
const FROM = "2026-01-14T10:27:03.000Z";
/** Of the first two alerts of a run. */
const COUNTS = [17, 6];
const IDS = ["8f14e45fceea167a5a36dedd4bea2543aa11", "c9f0f895fb98ab9159f51fd0297e236dbb22"];
