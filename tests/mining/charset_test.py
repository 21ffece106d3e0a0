"""Bytes to text: BOM, then what the bytes prove, then header, <meta>, detection."""
import pytest

from mathrl.mining.charset import decode

TEXTS = {
    'gbk': '设函数在闭区间上连续，则存在一点使得等式成立。证明如下：由介值定理可知结论。',
    'big5': '設函數在閉區間上連續，則存在一點使得等式成立。證明如下：由介值定理可知結論。',
    'shift_jis': '関数が閉区間で連続ならば最大値と最小値をとる。証明は次のとおりである。',
    'euc_jp': '関数が閉区間で連続ならば最大値と最小値をとる。証明は次のとおりである。',
    'euc-kr': '함수가 닫힌 구간에서 연속이면 최댓값과 최솟값을 가진다. 증명은 다음과 같다.',
    'windows-1251': 'Пусть функция непрерывна на отрезке, тогда она ограничена. Доказательство следует.',
    'windows-1252': 'Soit f une fonction dérivée — l’été où ça “naît” à côté',
}


def page(text, head=''):
    return f'<html><head>{head}</head><body><p>{text}</p></body></html>'


@pytest.mark.parametrize('charset', TEXTS)
def test_a_legacy_charset_is_read_from_header_meta_or_the_bytes_alone(charset):
    html, said = page(TEXTS[charset]), page(TEXTS[charset], f'<meta charset="{charset}">')
    assert decode(html.encode(charset), charset) == html
    assert decode(said.encode(charset)) == said
    assert decode(html.encode(charset)) == html


@pytest.mark.parametrize('charset', TEXTS)
def test_bytes_overrule_a_wrong_declaration(charset):
    html, lying = page(TEXTS[charset]), page(TEXTS[charset], '<meta charset="utf-8">')
    assert decode(html.encode(), charset) == html
    assert decode(html.encode(charset), 'utf-8') == html
    assert decode(html.encode(charset), 'iso-8859-1') == html
    assert decode(lying.encode(charset)) == lying


@pytest.mark.parametrize('charset', ['utf-8-sig', 'utf-16', 'utf-32', 'utf-16-le', 'utf-16-be'])
def test_bom_and_bomless_utf16(charset):
    html = page('x ≤ 中文')
    assert decode(html.encode(charset), 'iso-8859-1') == html


def test_labels_mean_their_supersets():
    assert decode('<p>“镕”'.encode('gbk'), 'gb2312') == '<p>“镕”'
    assert decode(b'<p>\x93q\x94', 'iso-8859-1') == '<p>“q”'


def test_two_spoiled_bytes_do_not_change_the_charset():
    body = page('Теорема. ' * 20).encode()
    broken = body[:40] + b'\xff' + body[40:]
    assert decode(broken, 'utf-8').replace('\ufffd', '') == page('Теорема. ' * 20)


@pytest.mark.parametrize('body', [b'\xff\xfe\x00\xd8', b'\xed\xa0\x80x', bytes(range(256)) * 9, b'\xff' * 999, b''])
@pytest.mark.parametrize('charset', ['', 'utf-8', 'utf-16', 'nonsense', 'hex', 'base64', 'idna', 'gbk', '"', 'utf-7'])
def test_any_bytes_under_any_label_give_text_without_nul_or_surrogate(body, charset):
    text = decode(body, charset)
    text.encode()
    assert '\0' not in text
