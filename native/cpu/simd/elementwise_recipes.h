// The rows of elementwise_recipes.def, read at compile time: the plan matches steps against them, elementwise_table.cc
// makes a loop of each. Included inside a namespace of the including file, so that nothing here is shared.
#pragma once

constexpr int kMaxRecipeSteps = 20, kMaxRecipeIns = 16, kMaxRecipeOuts = 4;

enum RecipeId {
#define RECIPE(name, steps, results) kRecipe_##name,
#include "elementwise_recipes.def"
#undef RECIPE
};

// Registers are the inputs, in the order in which the steps name them, then the steps.
struct Recipe {
  int nIn, nSteps, nOut;
  bool number[kMaxRecipeIns];  // inputs that are one number
  struct Step {
    int fn, from[3];
  } steps[kMaxRecipeSteps];
  int out[kMaxRecipeOuts];
};

struct RecipeReader {
  const char* at;

  static constexpr bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  constexpr void skip() {
    while (*at == ' ') at++;
  }
  constexpr char letter() {
    skip();
    const char c = *at++;
    if (!isLetter(c) || isLetter(*at)) throw "a recipe's values are single letters";
    skip();
    return c;
  }
  constexpr int function() {
    constexpr const char* names[] = {
#define ELEMENTWISE(name, arity, result, types, cost) #name,
#include "../../graph/elementwise.def"
#undef ELEMENTWISE
    };
    for (int f = 0; f < kElementwiseFns; f++) {
      int n = 0;
      while (names[f][n] != 0 && names[f][n] == at[n]) n++;
      if (names[f][n] == 0 && at[n] == ' ') {
        at += n;
        return f;
      }
    }
    throw "a recipe names an unknown function";
  }
};

constexpr Recipe readRecipe(const char* steps, const char* results) {
  constexpr int arity[] = {
#define ELEMENTWISE(name, arity, result, types, cost) arity,
#include "../../graph/elementwise.def"
#undef ELEMENTWISE
  };
  Recipe r = {};
  int where[128] = {};  // by letter: 1 + an input, or −1 − a step
  for (RecipeReader in = {steps}; *in.at != 0;) {
    Recipe::Step step = {};
    const char to = in.letter();
    if (*in.at++ != '=') throw "a recipe's step is `y=function a b c`";
    step.fn = in.function();
    for (int s = 0; s < arity[step.fn]; s++) {
      const char c = in.letter();
      int& source = where[int(c)];
      if (source == 0) {
        if (r.nIn == kMaxRecipeIns) throw "too many inputs";
        r.number[r.nIn] = c <= 'Z';
        source = ++r.nIn;
      }
      step.from[s] = source;
    }
    if (where[int(to)] != 0 || r.nSteps == kMaxRecipeSteps) throw "a value is set twice, or too many steps";
    where[int(to)] = -1 - r.nSteps;
    r.steps[r.nSteps++] = step;
    if (*in.at == ';') {
      in.at++;
      in.skip();
    }
  }
  for (int k = 0; k < r.nSteps; k++)
    for (int s = 0; s < 3; s++) {
      int& from = r.steps[k].from[s];
      from = from > 0 ? from - 1 : from < 0 ? r.nIn - 1 - from : -1;
    }
  for (RecipeReader in = {results}; *in.at != 0;) {
    const int from = where[int(in.letter())];
    if (from >= 0 || r.nOut == kMaxRecipeOuts) throw "a result is no step, or too many";
    r.out[r.nOut++] = r.nIn - 1 - from;
  }
  return r;
}

constexpr Recipe kRecipeRows[] = {
#define RECIPE(name, steps, results) readRecipe(steps, results),
#include "elementwise_recipes.def"
#undef RECIPE
};
