%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_utils).

-export([name_for_site/2]).

-include("../include/zotonic.hrl").

-spec name_for_site(atom(), atom() | z:context()) -> atom().
name_for_site(Name, #context{site = Site}) ->
    name_for_site(Name, Site);
name_for_site(Name, Site) when is_atom(Site) ->
    list_to_atom(atom_to_list(Name) ++ "$" ++ atom_to_list(Site)).
