/* The official library for JavaScript: each function is a way to use it. */

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI();
const model = "scripted";
const tool = {
  type: "function",
  name: "get_weather",
  description: "Looks up the weather.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
};
const CityWeather = z.object({ city: z.string(), degrees: z.number() });

async function run(text, context) {
  let response = await client.responses.create({ model, input: text, tools: [tool], ...context });
  for (;;) {
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return response;
    const input = calls.map(({ call_id }) => ({
      type: "function_call_output",
      call_id,
      output: "7 degrees",
    }));
    const next = context.conversation ? context : { previous_response_id: response.id };
    response = await client.responses.create({ model, input, tools: [tool], ...next });
  }
}

async function untilCut(stream) {
  const events = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error: error.name };
  }
  return { events, error: null };
}

const textOf = (events) =>
  events
    .filter((event) => event.type === "response.output_text.delta")
    .map((event) => event.delta)
    .join("");

const ways = {
  async chained(...texts) {
    const responses = [];
    for (const text of texts) {
      const last = responses.at(-1);
      responses.push(await run(text, last ? { previous_response_id: last.id } : {}));
    }
    return { replies: responses.map((r) => r.output_text), last: responses.at(-1).id };
  },

  async conversation(...texts) {
    const { id } = await client.conversations.create();
    const replies = [];
    for (const text of texts) replies.push((await run(text, { conversation: id })).output_text);
    const kinds = [];
    for await (const item of client.conversations.items.list(id, { order: "asc", limit: 2 })) {
      kinds.push(item.type);
    }
    return { replies, kinds, conversation: id };
  },

  /* A stream that breaks, and the rest of it in both ways of the library. */
  async resumed(text) {
    const stream = await client.responses.create({ model, input: text, stream: true });
    const { events, error } = await untilCut(stream);
    const { id } = events[0].response;
    const after = events.at(-1).sequence_number;
    const rest = await client.responses.retrieve(id, { stream: true, starting_after: after });
    const all = [...events, ...(await untilCut(rest)).events];
    const helper = client.responses.stream({ response_id: id, starting_after: after });
    const numbers = (await untilCut(helper)).events.map((event) => event.sequence_number);
    return {
      error,
      after,
      last: id,
      text: textOf(all),
      numbers: all.map((event) => event.sequence_number),
      helperNumbers: numbers,
      helperText: (await helper.finalResponse()).output_text,
    };
  },

  async parsed(text) {
    const format = zodTextFormat(CityWeather, "weather");
    const response = await client.responses.parse({ model, input: text, text: { format } });
    return response.output_parsed;
  },

  async completions(text) {
    const stream = client.chat.completions.stream({
      model,
      messages: [{ role: "user", content: text }],
    });
    return { text: (await stream.finalChatCompletion()).choices[0].message.content };
  },

  async failed() {
    const missing = "resp_00000000000000000000000000000000";
    try {
      await client.responses.create({ model, input: "Hello.", previous_response_id: missing });
    } catch (error) {
      const { status, code, param, type } = error;
      return { name: error.constructor.name, status, code, param, type };
    }
    return {};
  },
};

const [way, ...texts] = process.argv.slice(2);
console.log(JSON.stringify(await ways[way](...texts)));
