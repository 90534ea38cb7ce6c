"""Instructor: an object from chat completions, and from responses."""

import json
import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel


class CityWeather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


mode = instructor.Mode[sys.argv[1]]
client = instructor.from_openai(OpenAI(), mode=mode)
result = client.create(
    model="scripted",
    messages=[{"role": "user", "content": sys.argv[2]}],
    response_model=CityWeather,
)
print(json.dumps(result.model_dump()))
