%% @doc A stand-in for the module of the same name in Zotonic. A test says which files are gone.
-module(z_file_request).

-export([lookup_file/4]).

-spec lookup_file(binary(), list(), list(), z:context()) -> {ok, term()} | {error, enoent}.
lookup_file(File, _Roots, _Filters, _Context) ->
    case (host:get(is_file_gone, fun(_) -> false end))(File) of
        true -> {error, enoent};
        false -> {ok, file}
    end.
