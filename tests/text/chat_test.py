"""Chat templates: rendered as their models expect, in a sandbox."""
import pytest

from mathrl.text import chat

USER = [{'role': 'user', 'content': ' 1 < 2 是? '}]


def test_a_template_sees_messages_special_tokens_and_the_generation_prompt():
    template = '''{{ bos_token }}
    {%- for message in messages %}
        {%- if loop.last %}[{{ message['role'] }}] {{ message.content.strip() }}{% endif %}
    {% endfor %}
{% if add_generation_prompt %}
[assistant]
{% endif %}'''
    assert chat.render(template, USER, {'bos_token': '<s>'}) == '<s>[user] 1 < 2 是?[assistant]\n'


def test_what_templates_of_hugging_face_use():
    assert chat.render('{{ messages | tojson }}', USER, {}) == '[{"role": "user", "content": " 1 < 2 是? "}]'
    assert chat.render('{% for m in messages %}{% break %}{% endfor %}{{ strftime_now("%Y") }}', USER, {}).isdigit()
    assert chat.render('{% if tools %}tools{% endif %}{% if date is not defined %}none{% endif %}', USER, {}) == 'none'


@pytest.mark.parametrize('template, said', [
    ("{{ raise_exception('no system') }}", 'cannot be rendered: no system'),
    ('{% if %}', 'cannot be rendered'),
    ('{{ messages[3].content }}', 'cannot be rendered'),
    ("{{ 1 + 'a' }}", 'cannot be rendered'),
    ("{{ ''.__class__.__mro__ }}", 'cannot be rendered: .*unsafe'),
    ('{{ messages.append(1) }}', 'cannot be rendered: .*unsafe|not safely callable'),
    ("{{ raise_exception.__globals__.keys() }}", 'cannot be rendered: .*unsafe'),
])
def test_a_faulty_or_hostile_template_is_one_sentence(template, said):
    with pytest.raises(ValueError, match=said):
        chat.render(template, USER, {})
