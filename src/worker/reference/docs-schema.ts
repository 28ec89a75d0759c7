// Schemas as people read them: a type in words with its bounds, and the members of an object as rows.
import type { JsonSchema } from "@valibot/to-json-schema";
import { html, type Content, type Markup } from "./markup.ts";

type Definition = JsonSchema | boolean;

export interface Member {
  /** Members of members have dotted names. */
  readonly name: string;
  readonly schema: JsonSchema;
  readonly isRequired: boolean;
}

/** The members of an object, each followed by its own. */
export function listMembers(schema: JsonSchema, prefix = ""): Member[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const member: Member = { name: prefix + name, schema: schemaOf(value), isRequired: schema.required?.includes(name) === true };
    const inner = innerObject(member.schema);
    return inner === undefined ? [member] : [member, ...listMembers(inner.schema, `${prefix}${name}${inner.suffix}.`)];
  });
}

/** The object that a member is, may be beside null, or has a list of. */
function innerObject(schema: JsonSchema): { readonly schema: JsonSchema; readonly suffix: string } | undefined {
  if (schema.properties !== undefined) return { schema, suffix: "" };
  const choice = schema.anyOf?.map(schemaOf).find((option) => option.properties !== undefined);
  if (choice !== undefined) return { schema: choice, suffix: "" };
  const item = Array.isArray(schema.items) || schema.items === undefined ? undefined : schemaOf(schema.items);
  return item?.properties === undefined ? undefined : { schema: item, suffix: "[]" };
}

export function formatType(schema: JsonSchema): Markup {
  if (schema.$ref !== undefined) return formatReference(schema.$ref);
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum !== undefined) return joinWith(schema.enum.map((value) => html`<code>${JSON.stringify(value)}</code>`));
  const choices = schema.anyOf ?? schema.oneOf;
  if (schema.type === undefined && choices !== undefined) return joinWith(choices.map((choice) => formatType(schemaOf(choice))));
  if (schema.type === "array") return html`list of ${formatItems(schema.items)}`;
  if (schema.type === "object" && schema.properties === undefined && schema.additionalProperties !== undefined) {
    return html`object of ${formatType(schemaOf(schema.additionalProperties))}`;
  }
  if (schema.type === undefined) return html`any JSON value`;
  return html`${Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type}`;
}

function formatItems(items: JsonSchema["items"]): Markup {
  if (items === undefined || Array.isArray(items)) return html`any`;
  return formatType(schemaOf(items));
}

/** The bounds of a value, or of one that may be null instead; undefined where there are none. */
export function formatBounds(schema: JsonSchema): string | undefined {
  const bounds: string[] = schema.anyOf?.flatMap((option) => formatBounds(schemaOf(option)) ?? []) ?? [];
  const { minimum, exclusiveMinimum, maximum, minLength, maxLength, maxItems, minItems, pattern } = schema;
  if (exclusiveMinimum !== undefined) bounds.push(`more than ${formatNumber(exclusiveMinimum)}`);
  if (minimum !== undefined) bounds.push(`at least ${formatNumber(minimum)}`);
  // What JSON numbers hold exactly is no bound of ours.
  if (maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER) bounds.push(`at most ${formatNumber(maximum)}`);
  if (minLength !== undefined) bounds.push(`at least ${plural(minLength, "character")}`);
  if (maxLength !== undefined) bounds.push(`at most ${plural(maxLength, "character")}`);
  if (minItems !== undefined) bounds.push(`at least ${plural(minItems, "entry", "entries")}`);
  if (maxItems !== undefined) bounds.push(`at most ${plural(maxItems, "entry", "entries")}`);
  if (pattern !== undefined) bounds.push(`matches ${pattern}`);
  if (schema.default !== undefined) bounds.push(`default ${formatDefault(schema.default)}`);
  return bounds.length === 0 ? undefined : bounds.join(", ");
}

function formatDefault(value: unknown): string {
  return typeof value === "number" ? formatNumber(value) : JSON.stringify(value);
}

function formatReference(reference: string): Markup {
  const name = nameOf(reference);
  return html`<a href="#schema-${name}">${name}</a>`;
}

export function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

function joinWith(parts: readonly Markup[]): Markup {
  const joined: Content[] = parts.map((part, index) => (index === 0 ? part : html` or ${part}`));
  return html`${joined}`;
}

function schemaOf(definition: Definition): JsonSchema {
  return typeof definition === "boolean" ? {} : definition;
}

/** With thousands apart; `toLocaleString` takes longer than the rest of the page. */
function formatNumber(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ",");
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatNumber(count)} ${count === 1 ? one : many}`;
}
