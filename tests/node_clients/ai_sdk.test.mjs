// Vercel's AI SDK with its two OpenAI providers; the first one's default is the responses endpoint.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, Output, stepCountIs, streamText } from "ai";

import {
  AIAnnotations,
  apiKey,
  baseURL,
  checkLinks,
  checkText,
  EXPERT,
  Links,
  question,
  RAG,
  RecordsConsidered,
  SentRag,
} from "./endpoint.mjs";

const openai = createOpenAI({ baseURL, apiKey });
const compatible = createOpenAICompatible({ name: "reaktly", baseURL, apiKey });
const providers = {
  "responses endpoint": (model) => openai(model),
  "chat endpoint": (model) => openai.chat(model),
  "compatible provider": (model) => compatible(model),
};
const tools = {
  provideRecordsConsidered: { description: "Records.", inputSchema: RecordsConsidered },
  provideLinks: { description: "Links.", inputSchema: Links },
  provideAIAnnotations: { description: "Confidence.", inputSchema: AIAnnotations },
};

for (const [name, provider] of Object.entries(providers)) {
  test(`text is generated: ${name}`, async () => {
    const { text, finishReason } = await generateText({ model: provider(RAG), prompt: question });
    checkText(text);
    assert.equal(finishReason, "stop");
  });

  test(`text is streamed: ${name}`, async () => {
    const result = streamText({ model: provider(RAG), prompt: question, onError: () => {} });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    checkText(text);
    // The compatible provider asks for no usage in a stream.
    if (name !== "compatible provider") assert.ok((await result.usage).outputTokens > 0);
  });

  test(`an object is generated: ${name}`, async () => {
    const { object } = await generateObject({ model: provider(RAG), schema: SentRag, prompt: question });
    assert.equal(object.content[0].title, "Espresso machine");
    const { output } = await generateText({
      model: provider(RAG),
      output: Output.object({ schema: SentRag }),
      prompt: question,
    });
    assert.equal(output.content[1].title, "Tents");
  });

  test(`tools are called, plain and streamed: ${name}`, async () => {
    const asked = { model: provider(EXPERT), prompt: question, tools, toolChoice: "auto" };
    const plain = await generateText(asked);
    const streamed = streamText({ ...asked, onError: () => {} });
    await streamed.consumeStream();
    for (const result of [plain, streamed]) {
      const calls = await result.toolCalls;
      assert.deepEqual(calls.map((call) => [call.toolName, call.invalid ?? false]), [
        ["provideRecordsConsidered", false],
        ["provideLinks", false],
        ["provideAIAnnotations", false],
      ]);
      checkLinks(calls[1].input);
      assert.match(await result.text, /Fill the tank/);
      assert.equal(await result.finishReason, "tool-calls");
    }
  });

  test(`steps end once the tools were answered: ${name}`, async () => {
    const answered = Object.fromEntries(
      Object.entries(tools).map(([tool, told]) => [tool, { ...told, execute: async () => "shown" }]),
    );
    const { steps, text } = await generateText({
      model: provider(EXPERT),
      prompt: question,
      tools: answered,
      stopWhen: stepCountIs(5),
    });
    assert.equal(steps.length, 2);
    assert.match(text, /Fill the tank/);
  });
}
