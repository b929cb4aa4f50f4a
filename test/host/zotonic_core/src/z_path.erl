%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_path).

-export([files_subdir_ensure/2, media_archive/1]).

-include("../include/zotonic.hrl").

-spec files_subdir_ensure(file:filename_all(), z:context()) -> file:filename_all().
files_subdir_ensure(Subdir, #context{files_dir = Files}) ->
    Dir = filename:join(Files, Subdir),
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    Dir.

-spec media_archive(z:context()) -> file:filename_all().
media_archive(#context{files_dir = Files}) ->
    filename:join(Files, "archive").
