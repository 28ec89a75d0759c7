// Turns what a schema found wrong into faults with JSON pointers.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import { findJsonExcess } from "./json-bounds.ts";
import type { Fault, Refusal } from "./problems.ts";

export type InvalidRequest = Extract<Refusal, { kind: "invalid-request" }>;

export function invalidRequest(pointer: string, detail: string): InvalidRequest {
  return { kind: "invalid-request", errors: [{ pointer, detail }] };
}

/** Checks `input` against `schema`. `base` is the pointer of `input` itself: "" for a body, "/query" for parameters. */
export function parseWith<Schema extends v.GenericSchema>(
  schema: Schema,
  input: unknown,
  base = "",
): Result<v.InferOutput<Schema>, InvalidRequest> {
  // Only the first fault is told: a list of a million wrong items would otherwise make a million issues.
  const parsed = v.safeParse(schema, input, { abortEarly: true });
  if (parsed.success) return accept(parsed.output);
  const errors = parsed.issues.map((issue): Fault => {
    const inner = findInner(issue);
    const pointer = base + pointerOf(issue) + (inner === undefined ? "" : pointerOf(inner));
    return { pointer, detail: detailOf(inner ?? issue, base, schema) };
  });
  return refuse({ kind: "invalid-request", errors });
}

/** Parses JSON text within the bounds; the refusal points to the whole of it, `base`, since malformed text has no inside. */
export function parseJson(text: string, base = ""): Result<unknown, InvalidRequest> {
  const excess = findJsonExcess(text);
  if (excess !== undefined) return refuse(invalidRequest(base, excess));
  try {
    return accept(JSON.parse(text));
  } catch (error) {
    return refuse(invalidRequest(base, `Malformed JSON: ${error instanceof Error ? error.message : "cannot be parsed"}`));
  }
}

/** Parses the text of a JSON object and checks that. Schemas of objects take lists as well. */
export function parseJsonObject<Schema extends v.GenericSchema>(
  schema: Schema,
  text: string,
): Result<v.InferOutput<Schema>, InvalidRequest> {
  const value = parseJson(text);
  if (!value.ok) return value;
  if (Array.isArray(value.value)) return refuse(invalidRequest("", "Expected a JSON object"));
  return parseWith(schema, value.value);
}

/** Of several forms that a value can have it may be of one but for the bounds of a number or a text: then that is what is wrong. */
function findInner(issue: v.BaseIssue<unknown>): v.BaseIssue<unknown> | undefined {
  const [only, another] = issue.type === "union" ? (issue.issues ?? []).filter(({ kind }) => kind === "validation") : [];
  return another === undefined ? only : undefined;
}

function detailOf(issue: v.BaseIssue<unknown>, base: string, schema: v.GenericSchema): string {
  const isUnknown = issue.type === "strict_object" && issue.expected === "never";
  if (!isUnknown) return issue.message;
  const names = namesBeside(issue, schema);
  const known = names.length === 0 ? "" : `: expected one of ${names.join(", ")}`;
  return `${base === "/query" ? "Unknown parameter" : "Unknown member"}${known}`;
}

/** What could stand in the place of a name that is unknown; nothing where that depends on the rest of the value. */
function namesBeside(issue: v.BaseIssue<unknown>, schema: v.GenericSchema): readonly string[] {
  const path = (issue.path ?? []).slice(0, -1).map(({ key }) => String(key));
  const parent = path.reduce<unknown>((at, key) => entriesOf(at)[key], schema);
  return Object.keys(entriesOf(parent));
}

/** The members of an object's schema, also of one that may be left out or null. */
function entriesOf(schema: unknown): Readonly<Record<string, unknown>> {
  if (typeof schema !== "object" || schema === null) return {};
  if ("wrapped" in schema) return entriesOf(schema.wrapped);
  return "entries" in schema ? (schema.entries as Readonly<Record<string, unknown>>) : {};
}

function pointerOf(issue: v.BaseIssue<unknown>): string {
  const keys = (issue.path ?? []).map((item) => String(item.key));
  return keys.map((key) => `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
