// What every client here is given, and what each must end up with.
import assert from "node:assert/strict";

import { z } from "zod";

export const baseURL = process.env.REAKTLY_TEST_BASE_URL;
export const apiKey = process.env.REAKTLY_TEST_KEY;
export const question = process.env.REAKTLY_TEST_QUESTION;

export const RAG = "inkeep-rag";
export const EXPERT = "inkeep-qa-expert";

const Block = z.looseObject({
  type: z.string(),
  text: z.string().optional(),
  media_type: z.string().optional(),
  data: z.string().optional(),
});
const Document = z.looseObject({
  type: z.string(),
  record_type: z.string().optional(),
  url: z.string().optional(),
  title: z.string().optional(),
  context: z.string().optional(),
  source: z.looseObject({
    type: z.string().optional(),
    content: z.array(Block).optional(),
    media_type: z.string().optional(),
    data: z.string().optional(),
  }),
});
// As the vendor's examples declare it: fields may be absent, and none may be null.
export const Rag = z.looseObject({ content: z.array(Document) });

// What the SDKs send as a JSON schema knows no absent fields. Its `source` is as empty as one
// release of the vendor's own example makes it.
export const SentRag = z.object({
  content: z.array(
    z.object({
      type: z.string(),
      source: z.object({}),
      title: z.string().nullable(),
      url: z.string().nullable(),
    }),
  ),
});

// The vendor's tools of the question-and-answer mode, with what their calls must hold.
export const Links = z.object({
  links: z.array(
    z.looseObject({
      label: z.string().nullish(),
      url: z.string(),
      title: z.string().nullish(),
      description: z.string().nullish(),
      type: z.string().nullish(),
      breadcrumbs: z.array(z.string()).nullish(),
    }),
  ),
});
export const RecordsConsidered = z.object({
  recordsConsidered: z.array(
    z.looseObject({
      type: z.string(),
      url: z.string(),
      title: z.string(),
      breadcrumbs: z.array(z.string()).nullish(),
    }),
  ),
});
export const AIAnnotations = z.object({
  aiAnnotations: z.looseObject({
    answerConfidence: z.enum([
      "very_confident",
      "somewhat_confident",
      "not_confident",
      "no_sources",
      "other",
    ]),
  }),
});

export function check(rag) {
  const { content } = Rag.parse(rag);
  assert.deepEqual(
    content.map((document) => document.title),
    ["Espresso machine", "Tents"],
  );
  assert.equal(content[0].url, "https://docs.test/espresso");
}

export function checkText(text) {
  check(JSON.parse(text));
  assert.match(text, /Fill the tank/);
}

export function checkLinks(given) {
  const { links } = Links.parse(given);
  assert.deepEqual(
    links.map((link) => [link.label, link.url]),
    [["1", "https://docs.test/espresso"]],
  );
}
