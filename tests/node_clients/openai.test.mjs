// The official SDK.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";

import { apiKey, baseURL, check, checkLinks, checkText, EXPERT, question, RAG, SentRag } from "./endpoint.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: question }];
const tools = [
  { type: "function", function: { name: "provideLinks", parameters: { type: "object", properties: {} } } },
];

test("an answer is read in each response format", async () => {
  for (const response_format of [
    undefined,
    { type: "text" },
    { type: "json_object" },
    zodResponseFormat(SentRag, "rag"),
  ]) {
    const completion = await client.chat.completions.create({ model: RAG, messages, response_format });
    checkText(completion.choices[0].message.content);
  }
});

test("an answer is parsed", async () => {
  const completion = await client.chat.completions.parse({
    model: RAG,
    messages,
    response_format: zodResponseFormat(SentRag, "rag"),
  });
  assert.equal(completion.choices[0].message.parsed.content[0].title, "Espresso machine");
  checkText(completion.choices[0].message.content);
});

test("a stream is read", async () => {
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: RAG, messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  checkText(text);
});

test("the stream helper puts text and tool calls together", async () => {
  checkText(await client.chat.completions.stream({ model: RAG, messages }).finalContent());
  const stream = client.chat.completions.stream({ model: EXPERT, messages, tools });
  const { choices } = await stream.finalChatCompletion();
  assert.match(choices[0].message.content, /Fill the tank/);
  assert.equal(choices[0].finish_reason, "tool_calls");
  checkLinks(JSON.parse(choices[0].message.tool_calls[0].function.arguments));
});

test("responses are read plain, parsed and streamed", async () => {
  const plain = await client.responses.create({ model: RAG, input: question });
  checkText(plain.output_text);
  const parsed = await client.responses.parse({
    model: RAG,
    input: question,
    text: { format: zodTextFormat(SentRag, "rag") },
  });
  assert.equal(parsed.output_parsed.content[0].title, "Espresso machine");
  const streamed = await client.responses.stream({ model: RAG, input: question }).finalResponse();
  check(JSON.parse(streamed.output_text));
});

test("models are listed, and errors are the SDK's own", async () => {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  assert.ok(listed.includes(RAG) && listed.includes(EXPERT));
  await assert.rejects(
    client.chat.completions.create({ model: "gpt-4o", messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
});
