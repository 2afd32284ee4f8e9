// Kibana as far as a webhook sees it. Reads one JSON job a line from standard input and answers each
// with a JSON list on one line, a judgement for each action:
//
//   {"connector": C, "template": T, "alerts": A}   a rule ran: its actions, rendered and tried once
//   {"connector": C, "test": BODY}                 the Test button: neither rendered nor repeated
//   {"again": true}                                the next attempt of all actions that are to be repeated
//   {"template": T, "offers": A}                   a rule would run: the variables of its actions, as JSON
//                                                  in a text, and what T renders to and is sent as

import { createInterface } from "node:readline";

import { variables } from "./alerts.mjs";
import { wired } from "./connector.mjs";
import { execute } from "./executor.mjs";
import { render } from "./template.mjs";

/** Actions that the task manager runs at a time. */
const AT_A_TIME = 10;
/** The actions that are not over, as the task manager keeps them: rendered. */
let tasks = [];

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line))));
}

async function run({ connector, template, alerts, test, again, offers }) {
  if (offers) {
    return variables(offers).map((set) => {
      const rendered = render(template, set);
      return { variables: JSON.stringify(set), rendered, wire: wired(rendered) };
    });
  }
  if (test !== undefined) return [{ ...(await execute(connector, test, 1)), again: null }];
  if (!again) {
    const bodies = variables(alerts).map((set) => render(template, set));
    tasks = bodies.map((body) => ({ connector, body, attempts: 0 }));
  }
  const judgements = await sideBySide(tasks, (task) => {
    task.attempts += 1;
    return execute(task.connector, task.body, task.attempts);
  });
  tasks = tasks.filter((_, index) => judgements[index].again);
  return judgements;
}

/** The results in the order of the items. */
async function sideBySide(items, work) {
  const results = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return results;
}
