// The types of what the live page gets from elsewhere, for tsc alone: nothing of this file is served or run.

/** The api as its own OpenAPI document describes it. */
type Paths = import("../build/page/openapi").paths;

declare namespace Api {
  /** A path of the api that answers with JSON, as the page asks for it: relative, so that it works behind any proxy. */
  type Path = { [P in keyof Paths]: Paths[P]["get"] extends { responses: { 200: { content: Json } } } ? Relative<P> : never }[keyof Paths];
  type Json = { "application/json": unknown };
  type Relative<P extends string> = P extends `/${infer Rest}` ? Rest : never;

  /** What a path answers with. */
  type Answer<P extends Path> = Get<P>["responses"][200]["content"]["application/json"];
  /** What a path may be asked with. */
  type Parameters<P extends Path> = NonNullable<Get<P>["parameters"]["query"]>;
  type Get<P extends Path> = Extract<Paths[`/${P}`]["get"], { responses: { 200: { content: Json } } }>;

  type Kind = "types" | "words";
  type Ranking = Answer<"v1/types">;
  type RankedName = Ranking["items"][number];
  type OneName = Answer<"v1/types:lookup">;
  type Series = Answer<"v1/types:series">;
  type Trending = Answer<"v1/types:trending">;
  type Rise = Trending["items"][number];
  type Status = Answer<"v1/stats">;

  /** What is asked of a time range; nothing for all time. */
  type TimeRange = Pick<Parameters<"v1/types">, "window" | "from" | "to">;

  /** A message of the live feed, which OpenAPI cannot describe: a `snapshot` or a `tick`. */
  type Now = Pick<Status, "as_of" | "totals" | "events_per_second" | "backlog" | "aggregators_alive" | "dead_letters"> & { selected?: Selected | null };
  /** What the feed was asked to tell of, too: some types, some words; null where it cannot tell. */
  interface Selected {
    unit: "events" | "words";
    count: number;
    per_second: { [seconds: string]: number | null };
  }
  type Totals = Status["totals"];

  /** The live feed's message `unavailable`: Redis does not answer. */
  interface Unavailable {
    title: string;
    detail: string;
  }
}

interface Window {
  /** Swagger UI, where `make assets` has brought it. */
  SwaggerUIBundle?: (options: object) => void;
}
