/* OpenAI's Agents SDK for JavaScript: each function is a way to carry a conversation on. */

import { Agent, OpenAIConversationsSession, run, setTracingDisabled, tool } from "@openai/agents";
import { z } from "zod";

setTracingDisabled(true);

const agent = new Agent({
  name: "Assistant",
  instructions: "Be brief.",
  model: "scripted",
  tools: [
    tool({
      name: "get_weather",
      description: "Looks up the weather.",
      parameters: z.object({ city: z.string() }),
      execute: async ({ city }) => (city === "Oslo" ? "7 degrees" : "nothing"),
    }),
  ],
});

const ways = {
  async plain(...texts) {
    let items = [];
    let last;
    const replies = [];
    for (const content of texts) {
      const result = await run(agent, [...items, { role: "user", content }]);
      items = result.history;
      last = result.lastResponseId;
      replies.push(result.finalOutput);
    }
    return { replies, last };
  },

  async chained(...texts) {
    let last;
    const replies = [];
    for (const text of texts) {
      const result = await run(agent, text, last ? { previousResponseId: last } : {});
      last = result.lastResponseId;
      replies.push(result.finalOutput);
    }
    return { replies, last };
  },

  async session(...texts) {
    const session = new OpenAIConversationsSession();
    const replies = [];
    for (const text of texts) replies.push((await run(agent, text, { session })).finalOutput);
    const items = await session.getItems();
    await session.popItem();
    const left = (await session.getItems()).length;
    const conversation = await session.getSessionId();
    await session.clearSession();
    return { replies, items: items.map((item) => item.type), left, conversation };
  },

  async streamed(text) {
    const result = await run(agent, text, { stream: true });
    let streamed = "";
    for await (const piece of result.toTextStream()) streamed += piece;
    await result.completed;
    return { text: streamed, final: result.finalOutput };
  },
};

const [way, ...texts] = process.argv.slice(2);
console.log(JSON.stringify(await ways[way](...texts)));
