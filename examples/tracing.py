"""The agent of `agent.py`, traced: each model call and each tool is a span of OpenTelemetry.

Run it in this folder, with a collector that accepts OTLP over HTTP (Jaeger, Langfuse, Phoenix):

    pip install langchain opentelemetry-sdk opentelemetry-exporter-otlp-proto-http \
        openinference-instrumentation-langchain
    OPENAI_API_KEY=sk-... OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 \
        chatkeep serve --model support=python:tracing:agent

Every span has the attribute `session.id`, and `metadata` with the session_id, the turn_id and the
attempt. Spans carry the texts too: `TraceConfig(hide_inputs=True, hide_outputs=True)` leaves them
out.
"""

from openinference.instrumentation import TraceConfig
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agent import agent

provider = TracerProvider(resource=Resource.create({"service.name": "support"}))
# A thread sends the spans, so that a collector that does not answer delays no turn.
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
LangChainInstrumentor().instrument(tracer_provider=provider, config=TraceConfig())

__all__ = ["agent"]
