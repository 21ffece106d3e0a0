"""Chat templates: the Jinja text by which messages become one prompt. They come with a model, so they run in a sandbox."""
import datetime
import json


def render(template: str, messages: list[dict], special_tokens: dict[str, str]) -> str:
    """The prompt that asks for the next message.

    [{'role': 'user', 'content': '1+1?'}] -> '<|im_start|>user\\n1+1?<|im_end|>\\n<|im_start|>assistant\\n'

    special_tokens: the names a template may use, such as bos_token. ValueError where the template fails.
    """
    import jinja2
    import jinja2.sandbox
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=['jinja2.ext.loopcontrols'])
    # What Hugging Face's templates are written for.
    environment.filters['tojson'] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals |= {'raise_exception': _refuse, 'strftime_now': lambda form: datetime.datetime.now().strftime(form)}
    try:
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True, tools=None,
                                                        documents=None, **special_tokens)
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(f'the chat template cannot be rendered: {error}') from None


def _refuse(message: str):
    import jinja2
    raise jinja2.TemplateError(message)
