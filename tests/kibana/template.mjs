// Renders the body of an action as Kibana does before it calls a webhook: mustache, whose `{{x}}` is
// escaped for the inside of a JSON string.

import hjson from "hjson";
import mustache from "mustache";

/** The rendered text; a template that cannot be read does not stop Kibana, its error is sent. */
export function render(template, variables) {
  try {
    const view = { ...LAMBDAS, ...prepared(variables) };
    return mustache.render(template, view, undefined, { escape: insideJson });
  } catch (error) {
    return `error rendering mustache template "${template}": ${error.message}`;
  }
}

/** A value between quotes: nothing at all where it is missing. */
function insideJson(value) {
  return value == null ? "" : JSON.stringify(String(value)).slice(1, -1);
}

/** A copy as JSON would carry it, in which every object and list can be printed. */
function prepared(variables) {
  const copy = JSON.parse(JSON.stringify(variables));
  expandDots(copy);
  makePrintable(copy);
  return copy;
}

/** `{"source.ip": x}` can be found as `source.ip` too. */
function expandDots(object) {
  for (const key of Object.keys(object)) {
    if (key.includes(".")) {
      const value = object[key];
      const nested = key.split(".").reduceRight((inner, part) => ({ [part]: inner }), value);
      mergeInto(object, nested);
    }
    if (typeof object[key] === "object" && object[key] !== null) {
      expandDots(object[key]);
    }
  }
}

function mergeInto(target, source) {
  for (const [key, value] of Object.entries(source)) {
    if (isPlain(target[key]) && isPlain(value)) {
      mergeInto(target[key], value);
    } else {
      target[key] = value;
    }
  }
}

function makePrintable(value) {
  if (Array.isArray(value)) {
    value.forEach(makePrintable);
    value.asJSON = () => JSON.stringify(value);
  } else if (isPlain(value)) {
    Object.values(value).forEach(makePrintable);
    // Not hidden: the copy that mustache is given has it, too, so `{{.}}` shows all variables.
    if (!Object.hasOwn(value, "toString")) {
      value.toString = () => JSON.stringify(value);
    }
  }
}

function isPlain(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The one of Kibana's lambdas that its users need for lists; it takes trailing commas. */
const LAMBDAS = {
  ParseHjson: () => (text, renderInner) => {
    const rendered = renderInner(text.trim());
    try {
      return JSON.stringify(hjson.parse(rendered));
    } catch (error) {
      return `error parsing Hjson "${rendered}": ${error.message}`;
    }
  },
};
