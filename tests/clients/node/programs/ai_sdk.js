/* The AI SDK with its provider for OpenAI, of either version: each function is a way to use it. */

const [version, way, ...texts] = process.argv.slice(2);
const { generateObject, generateText, stepCountIs, streamText, tool } = await import(
  version === "6" ? "ai-6" : "ai"
);
const { createOpenAI } = await import(version === "6" ? "ai-sdk-openai-6" : "@ai-sdk/openai");
const { z } = await import("zod");

const openai = createOpenAI({
  baseURL: process.env.OPENAI_BASE_URL,
  apiKey: process.env.OPENAI_API_KEY,
});
const tools = {
  get_weather: tool({
    description: "Looks up the weather.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => (city === "Oslo" ? "7 degrees" : "nothing"),
  }),
};
// A model that the provider knows to reason: it asks for the encrypted reasoning, and more.
const model = openai.responses("gpt-5-mini");
const common = { model, tools, stopWhen: stepCountIs(5) };

const ways = {
  /* All messages are sent each time: those of the model as references to its items. */
  async turns() {
    const messages = [];
    const replies = [];
    let last;
    for (const content of texts) {
      messages.push({ role: "user", content });
      const result = await generateText({ ...common, messages });
      messages.push(...result.response.messages);
      replies.push(result.text);
      last = result.providerMetadata.openai.responseId;
    }
    return { replies, last };
  },

  /* Only the new message is sent, with the last response's id. */
  async chained() {
    const replies = [];
    let last;
    for (const prompt of texts) {
      // Each step of a loop sends the same id, and all that came after that response.
      const providerOptions = { openai: last ? { previousResponseId: last } : {} };
      const result = await generateText({ ...common, prompt, providerOptions });
      replies.push(result.text);
      last = result.providerMetadata.openai.responseId;
    }
    return { replies, last };
  },

  async conversation() {
    const made = await fetch(`${process.env.OPENAI_BASE_URL}/conversations`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    const { id } = await made.json();
    const providerOptions = { openai: { conversation: id } };
    const replies = [];
    for (const prompt of texts) {
      replies.push((await generateText({ ...common, prompt, providerOptions })).text);
    }
    return { replies, conversation: id };
  },

  async streamed() {
    let error = null;
    const failed = ({ error: caught }) => (error = caught?.name ?? String(caught));
    const result = streamText({ ...common, prompt: texts[0], onError: failed });
    let text = "";
    try {
      for await (const part of result.fullStream) {
        if (part.type === "text-delta") text += part.text;
      }
    } catch (caught) {
      failed({ error: caught });
    }
    const again = error ? (await generateText({ ...common, prompt: texts[0] })).text : null;
    return { text, error, again };
  },

  async object() {
    const schema = z.object({ city: z.string(), degrees: z.number() });
    return (await generateObject({ model, schema, prompt: texts[0] })).object;
  },

  async completions() {
    const chat = openai.chat("scripted");
    const messages = [];
    const replies = [];
    for (const content of texts) {
      messages.push({ role: "user", content });
      const result = await generateText({ ...common, model: chat, messages });
      messages.push(...result.response.messages);
      replies.push(result.text);
    }
    return { replies };
  },
};

console.log(JSON.stringify(await ways[way]()));
