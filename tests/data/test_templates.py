"""Templates make captions of folders: filled in, weighted, and refused where they do not fit."""

import shutil

import pytest

import patch_forcing as pf
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.captions import Several
from patch_forcing.data.shards import find_shards
from patch_forcing.data.sources import FolderSource, LatentsSource, ShardsSource
from patch_forcing.data.templates import TemplateOptions
from tests.support.image_files import photos, samples, shard


def filled(template, *names, **how):
    return TemplateOptions(template=(template,)).captions(names, **how)


@pytest.mark.parametrize(
    ("template", "name", "caption"),
    [
        ("a {class}", "cat", "a cat"),
        ("a {class}", "Owl", "an Owl"),
        ("an {class}", "cat", "a cat"),
        ("A {1} of an {2}", "art_painting/elephant", "An art painting of an elephant"),
        ("{2}: {1}", "a__b/ c", "c: a b"),
        ("(a {class})", "unicorn", "(a unicorn)"),
        ("a {class}", "user", "a user"),
        ("banana {class}", "owl", "banana owl"),
        ("the {class}", "owl", "the owl"),
        ("{{a}} {class}", "猫", "{a} 猫"),
        ("a picture", "cat", "a picture"),
        ("{class} and a {class}", "ape", "ape and an ape"),
    ],
)
def test_names_of_folders_stand_in_sentences(template, name, caption):
    assert filled(template, name) == [caption]


def test_classes_of_one_level_keep_a_slash_that_others_lack():
    assert filled("{class}", "AC/DC", "cat") == ["AC/DC", "cat"]


def test_levels_have_names():
    assert filled("a {style} of {thing}", "sketch/dog", levels=("style", "thing")) == [
        "a sketch of dog"
    ]


def test_several_templates_have_weights_and_equal_texts_are_one():
    options = TemplateOptions(template=("a {class}", "{class}"), template_weights=(3, 1))
    assert options.captions(["cat"]) == [Several(("a cat", "cat"), (3, 1))]
    assert TemplateOptions(template=("x", " x", "{class}")).captions(["x"]) == ["x"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    things = {f"{style}/{thing}": 2 for style in ("ink", "oil") for thing in ("ape", "dog")}
    return photos(tmp_path_factory.mktemp("pictures"), things)


def test_folders_of_two_levels_are_captioned_and_held_out_likewise(pictures):
    templates = ("a {style} of a {thing}", "a {thing}")
    how = {"levels": "style,thing", "template": templates, "template_weights": (9, 1)}
    data = FolderSource(str(pictures), held_out=0.4, **how).open()
    assert (data.captioned, data.num_classes, data.info.class_names) == (True, 0, ())
    for layout in (data.layout, data.examples(4)):
        assert layout is not None
    expected = {"an ink of an ape", "an ink of a dog", "an oil of an ape", "an oil of a dog"}
    assert {c.texts[0] for c in data.layout.captions} == expected  # each class keeps an image
    assert data.layout.notes.source.endswith(
        "classes by folder, no captions; 6 captions by template, such as 'an ink of an ape'"
    )
    batch = data.batch(BatchSpec(0, 40, 0))
    assert len({*batch.captions} & expected) == 4
    again = FolderSource(str(pictures), held_out=0.4, **how).open()
    assert again.batch(BatchSpec(0, 40, 0)).captions == batch.captions
    assert all(
        held in {*expected, "an ape", "a dog"} for held in data.examples(4)[0].batch.captions
    )


def test_labels_of_shards_are_named_too(tmp_path):
    shard(tmp_path / "x.tar", samples(4, 2))
    data = ShardsSource(path=str(tmp_path), template=("number {class}",)).open()
    assert set(data.layout.captions) == {"number 0", "number 1"}
    assert find_shards(str(tmp_path)).condition == "class"


def test_what_lies_beside_images_of_folders_gives_way_where_it_is_told(pictures, tmp_path):
    root = shutil.copytree(pictures, tmp_path / "copy")
    rows = [f"{file.relative_to(root)},mine\n" for file in root.rglob("*.png")]
    (root / "metadata.csv").write_text("".join(["file_name,text\n", *rows]))
    how = {"template": ("a {class}",), "max_bad_share": 1.0}
    with pytest.raises(pf.UserError, match=r"have captions: leave it out, or add --data.condition"):
        FolderSource(str(root), condition=None, **how).open()
    data = FolderSource(str(root), condition="class", depth=2, **how).open()
    assert set(data.layout.captions) == {"an ape", "a dog"}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"template": ("a {style}",)}, "unknown field of data.template 'style': known: 1, class"),
        ({"template": ("a {",)}, r"data.template='a \{'.*write \{\{ for a brace that is text"),
        ({"template": ("}",)}, r"data.template='\}'.*write \{\{ for a brace"),
        ({"template": ("{}",)}, "a field is a name in braces, as {class}"),
        ({"template": ("{class:3}",)}, "a field is a name in braces"),
        ({"template": ("{class!r}",)}, "a field is a name in braces"),
        ({"template": ("{class.real}",)}, "unknown field of data.template 'class.real'"),
        ({"template": (" ",)}, "data.template=' ' is empty"),
        ({"template_weights": (1.0,)}, "template_weights=.1.0,. without a template"),
        ({"levels": "style"}, "data.levels=style without a template"),
        ({"template": ("x",), "template_weights": (1.0, 2.0)}, "for 1 templates: give one for"),
        ({"template": ("x",), "template_weights": (0.0,)}, "give one for each, not all 0"),
        (
            {"template": ("x",), "template_weights": (-1.0,)},
            "template_weights=-1.0 is out of range",
        ),
        ({"template": ("x",), "levels": "a b"}, "data.levels=a b: give names with commas"),
        ({"template": ("x",), "levels": "a,a"}, "data.levels=a,a: a name is there twice"),
        ({"template": ("x",), "levels": "a", "depth": 2}, "data.depth=2 with data.levels=a"),
        ({"template": ("x",), "condition": "none"}, "data.template with data.condition=none"),
        ({"template": ("x",), "condition": "caption"}, "leave one of the two out"),
        ({"template": ("x",), "depth": 0}, "have no classes: put them into folders of classes"),
    ],
)
def test_what_does_not_fit_is_one_line(pictures, how, message):
    with pytest.raises(pf.UserError, match=message) as error:
        FolderSource(str(pictures), **how).open()
    assert "\n" not in str(error.value)


def test_levels_that_names_do_not_have_are_told():
    with pytest.raises(pf.UserError, match=r"data.levels=a,b, but the class 'x' is of 1"):
        filled("{a}", "x", levels=("a", "b"))
    with pytest.raises(pf.UserError, match=r"data.levels=a without a template"):
        LatentsSource("x", levels="a")
