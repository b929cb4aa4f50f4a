%% @doc What `src/' needs of Zotonic: the functions that it calls and the records that it uses, read from
%% what was compiled. `make host-contract' prints it, so that it can be checked against a real Zotonic.
-module(host_contract).

-export([functions/0, records/0, print/0]).

%% What Zotonic brings along beside the modules that are called as its own.
-define(BROUGHT, [jobs, bert, controller_file]).

%% @doc The functions of others that the modules in `src/' call.
-spec functions() -> [mfa()].
functions() ->
    lists:usort([
        Call
     || Beam <- beams(),
        {Module, _, _} = Call <- imports(Beam),
        is_of_the_host(Module)
    ]).

%% @doc The records that the modules in `src/' use and that a header of Zotonic defines, with their fields.
-spec records() -> [{record, atom(), [atom()]}].
records() ->
    lists:usort([
        {record, Name, Fields}
     || Beam <- beams(),
        Forms <- [forms(Beam)],
        Defined <- [defined(Forms)],
        Name <- used(Forms),
        {ok, Fields} <- [maps:find(Name, Defined)]
    ]).

%% @doc Prints all of it as Erlang terms, one a line.
-spec print() -> ok.
print() ->
    lists:foreach(fun(Term) -> io:format("~0p.~n", [Term]) end, functions() ++ records()).

%% The modules whose source is in `src/'; those in `erlang/' know nothing of Zotonic.
beams() ->
    Ebin = filename:dirname(code:which(mod_backup)),
    [
        Beam
     || Beam <- filelib:wildcard(filename:join(Ebin, "*.beam")),
        {ok, {_, [{compile_info, Info}]}} <- [beam_lib:chunks(Beam, [compile_info])],
        is_in_src(filename:split(proplists:get_value(source, Info, "")))
    ].

is_in_src(Source) ->
    lists:member("src", Source) andalso not lists:member("host", Source).

imports(Beam) ->
    {ok, {_, [{imports, Imports}]}} = beam_lib:chunks(Beam, [imports]),
    Imports.

is_of_the_host(Module) ->
    Name = atom_to_list(Module),
    lists:prefix("z_", Name) orelse lists:prefix("m_", Name) andalso not lists:prefix("m_backup", Name)
        orelse lists:prefix("zotonic_", Name) orelse lists:prefix("admin_", Name)
        orelse lists:member(Module, ?BROUGHT).

forms(Beam) ->
    {ok, {_, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(Beam, [abstract_code]),
    Forms.

%% Those of a header, by the file that each form is from.
defined(Forms) ->
    {_, Defined} = lists:foldl(
        fun
            ({attribute, _, file, {File, _}}, {_, Acc}) ->
                {File, Acc};
            ({attribute, _, record, {Name, Fields}}, {File, Acc}) ->
                case string:find(File, "zotonic_") =/= nomatch andalso filename:extension(File) =:= ".hrl" of
                    true -> {File, Acc#{Name => [field(Field) || Field <- Fields]}};
                    false -> {File, Acc}
                end;
            (_, Acc) ->
                Acc
        end,
        {"", #{}},
        Forms
    ),
    Defined.

field({typed_record_field, Field, _}) -> field(Field);
field({record_field, _, {atom, _, Name}}) -> Name;
field({record_field, _, {atom, _, Name}, _}) -> Name.

used(Term) when is_tuple(Term), element(1, Term) =:= record, tuple_size(Term) >= 4 ->
    [Name || Name <- [element(3, Term), element(4, Term)], is_atom(Name)] ++ used(tuple_to_list(Term));
used({type, _, record, [{atom, _, Name} | _]}) ->
    [Name];
used(Term) when is_tuple(Term) ->
    used(tuple_to_list(Term));
used([Head | Tail]) ->
    used(Head) ++ used(Tail);
used(_) ->
    [].
